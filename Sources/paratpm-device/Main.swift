// paratpm-device: arguments, chip, host root, ready, loop.
import DeviceOwner

@main enum Main {
    static func main() { DeviceDaemon.main() }
}
