//! demo
pub(crate) fn demo(_: crate::arguments::Demo) -> anyhow::Result<std::process::ExitCode> { anyhow::bail!("soon") }
