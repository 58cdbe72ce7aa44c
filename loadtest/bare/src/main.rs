//! The pass-through with the allocator of the system.

fn main() -> anyhow::Result<()> {
    bare_pingora::run()
}
