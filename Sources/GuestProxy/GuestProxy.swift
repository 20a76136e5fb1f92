// GuestProxy
