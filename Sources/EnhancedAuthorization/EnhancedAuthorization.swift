// EnhancedAuthorization
