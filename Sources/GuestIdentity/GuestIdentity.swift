// GuestIdentity
