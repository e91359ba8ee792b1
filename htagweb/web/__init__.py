"""One browser's side: sessions and cookies, opening pages, the wire, the client script."""
