// DeviceOwner
