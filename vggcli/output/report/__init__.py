"""The page of a run: one HTML file with every image's thumbnail and classes, that needs no network and no server.

Records and thumbnails go to a temporary file as they come (`spool`); the page is put together at the end (`page`).
"""
