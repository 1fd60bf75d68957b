import CairnTestSupport

/// What a run does. Each run draws its own, so that faults meet in all combinations and most runs are not drowned in them.
struct Plan {
    var nodes = 3
    var faultNanoseconds: UInt64 = 4_000_000_000
    var clients = 4

    // The network.
    var lossPermille: UInt64 = 0
    var duplicationPermille: UInt64 = 0
    var corruptionPermille: UInt64 = 0
    var strayPermille: UInt64 = 0
    var longDelayPermille: UInt64 = 0
    var delayMax: UInt64 = 1_000_000
    var reorders = false
    var partitions = false

    // Processes.
    var crashes = false
    var pauses = false
    var membership = false
    var transfers = false

    // Disks.
    var slowDisks = false
    var diskErrors = false
    var fullDisks = false
    var rot = false

    // Clocks.
    var drift = false
    var driftBeyondBound = false
    var wallJumps = false

    // How the nodes are set up.
    var smallLogs = false
    var defersReads = false
    var tabletsHaveWAL = true
    var encrypts = false

    init() {}

    init(drawnFrom random: inout SeededGenerator) {
        membership = random.oneIn(4)
        nodes = membership ? 4 + Int(random.next() % 2) : 3
        if random.oneIn(3) { lossPermille = random.next() % 100 }
        if random.oneIn(3) { duplicationPermille = random.next() % 300 }
        if random.oneIn(8) { corruptionPermille = 1 + random.next() % 5 }
        if random.oneIn(2) { strayPermille = random.next() % 60 }
        if random.oneIn(4) { longDelayPermille = random.next() % 20 }
        if random.oneIn(3) { delayMax = 1_000_000 + random.next() % 20_000_000 }
        reorders = random.oneIn(4)
        partitions = random.oneIn(2)
        crashes = random.oneIn(2)
        pauses = random.oneIn(3)
        transfers = random.oneIn(3)
        slowDisks = random.oneIn(4)
        diskErrors = random.oneIn(8)
        fullDisks = random.oneIn(8)
        rot = random.oneIn(8)
        drift = random.oneIn(2)
        driftBeyondBound = random.oneIn(8)
        wallJumps = random.oneIn(6)
        smallLogs = random.oneIn(2)
        defersReads = random.oneIn(2)
        tabletsHaveWAL = !random.oneIn(3)
        encrypts = random.oneIn(8)
    }
}
