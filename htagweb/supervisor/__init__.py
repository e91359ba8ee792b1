"""The daemon that owns app processes: placement, life cycle, timers, emission."""
