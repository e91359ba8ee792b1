"""What each contestant hosts: the same page, and the script that serves it."""
