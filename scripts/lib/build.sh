# Sourced by the scripts: how the executable is built.

# build_product PRODUCT ROOT SCRATCH CONFIGURATION: builds one product. A release brings Swift's libraries with it: it runs
# where no Swift is installed, and calls into them cost less.
build_product() {
    local flags=()
    [ "$4" != release ] || flags+=(--static-swift-stdlib)
    swift build --package-path "$2" --scratch-path "$3" -c "$4" --product "$1" ${flags[@]+"${flags[@]}"}
}

# build_fault_workload ROOT SCRATCH CONFIGURATION: builds the program by which scripts/faults loads a cluster through CairnClient.
build_fault_workload() { build_product fault-workload "$@"; }

# build_cairn ROOT SCRATCH CONFIGURATION: builds the product `cairn`.
build_cairn() { build_product cairn "$@"; }
