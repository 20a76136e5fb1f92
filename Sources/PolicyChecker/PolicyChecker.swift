// PolicyChecker
