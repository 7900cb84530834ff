"""Many runs: lists them, trains them in processes or as jobs, and compares their scores."""
