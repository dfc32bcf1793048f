"""What surrounds a `Classifier`: how it is opened, with which settings, and the larger things that are done with it.

`vggcli` itself is the public face; nothing here is imported before it is asked for.
"""
