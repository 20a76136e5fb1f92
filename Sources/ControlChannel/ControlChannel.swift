// ControlChannel
