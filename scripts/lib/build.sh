# Sourced by the scripts: how the executable is built.

# build_cairn ROOT SCRATCH CONFIGURATION: builds the product `cairn`. A release brings Swift's libraries with it: it runs
# where no Swift is installed, and calls into them cost less.
build_cairn() {
    local flags=()
    [ "$3" != release ] || flags+=(--static-swift-stdlib)
    swift build --package-path "$1" --scratch-path "$2" -c "$3" --product cairn ${flags[@]+"${flags[@]}"}
}
