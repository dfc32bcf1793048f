"""One reader for any VGG: from keys and shapes to a network, or to the sentence that says where its chain breaks."""
