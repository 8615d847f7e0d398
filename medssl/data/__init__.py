"""From a dataset's files to batches of views: splits, the store of decoded images, and random views."""
