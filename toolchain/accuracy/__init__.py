"""What a plan costs in accuracy: data, metrics and the evaluator."""
