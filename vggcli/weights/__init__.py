"""From a name or a file to a model that is ready to run."""
