// paratpm-guest is one guest's door: what a hypervisor connects to. Under the name swtpm it stands for that program.
import GuestDoor

@main enum Main {
    static func main() { GuestDoor.main() }
}
