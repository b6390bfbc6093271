//! The demonstration shop as one more face of this binary, so that `demo` needs no second one.

use std::process::ExitCode;

use cloakroom_shop::ShopSettings;

pub(crate) fn shop() -> anyhow::Result<ExitCode> {
    let settings = ShopSettings::from_environment(|name| std::env::var(name).ok())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(cloakroom_shop::serve(settings))?;
    Ok(ExitCode::SUCCESS)
}
