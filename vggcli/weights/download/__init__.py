"""Downloads that resume and are verified, and files read in parts from a web server."""
