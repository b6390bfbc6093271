//! One instance of the demonstration shop, set up by its environment; see
//! [`ShopSettings::from_environment`] for the variables.

use std::error::Error;
use std::process::ExitCode;

use cloakroom_shop::{ShopSettings, serve};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shop: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let settings = ShopSettings::from_environment(|name| std::env::var(name).ok())?;
    eprintln!("shop instance {} opens on http://{}/", settings.instance, settings.listen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings))?;
    Ok(())
}
