import Glibc

/// The machine in a line, for the head of a benchmark.
enum MachineLine {
    static var text: String {
        var model = "unknown processor"
        if let file = unsafe fopen("/proc/cpuinfo", "r") {
            var line = [CChar](repeating: 0, count: 512)
            // Safety: at most the array's length is written, NUL included.
            while unsafe fgets(&line, Int32(line.count), file) != nil {
                let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                guard text.hasPrefix("model name"), let colon = text.firstIndex(of: ":") else { continue }
                model = text[text.index(after: colon)...].split(whereSeparator: \.isWhitespace).joined(separator: " ")
                break
            }
            unsafe fclose(file)
        }
        let gibibytes = (sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))) >> 30
        return "\(sysconf(Int32(_SC_NPROCESSORS_ONLN))) cores of \(model), \(gibibytes) GiB"
    }
}
