// paratpm-proxy is one guest's TPM. Its door starts it, with every descriptor that it needs.
import GuestProxy

@main enum Main {
    static func main() { Proxy.main() }
}
