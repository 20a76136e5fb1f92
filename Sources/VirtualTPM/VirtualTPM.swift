// VirtualTPM
