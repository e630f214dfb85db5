"""What is in the files of a release: their tensors, found without the model's own libraries."""
