"""What runs beside the app: template processes, app processes, and the frames they speak."""

inside_template = False
"""True in a template and the app processes it forks: a script's ``Runner(App).run()`` does nothing there."""

SECRET_VARIABLES = (
    "HTAGWEB_REDIS_URL",
    "HTAGWEB_REDIS_URL_FILE",
    "HTAGWEB_SECRET",
    "HTAGWEB_SECRET_FILE",
    "NOTIFY_SOCKET",
)
"""Environment variables that no template and no app process gets."""
