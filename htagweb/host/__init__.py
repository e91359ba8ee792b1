"""What runs beside the app: template processes, app processes, and the frames they speak."""

inside_template = False
"""True in a template and the app processes it forks: a script's ``Runner(App).run()`` does nothing there."""
