// GuestDoor
