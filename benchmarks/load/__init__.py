"""The load: one light process with all users of a contestant, told by lines of JSON what to do."""
