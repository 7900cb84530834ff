"""Many runs: plans them, trains them in processes or as jobs, and compares their scores."""
