//! The unit for systemd leaves the service little to do harm with.

use std::path::Path;
use std::process::Command;

#[test]
fn the_exposure_of_the_systemd_unit_is_low() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd/ramson.service");
    let text = std::fs::read_to_string(&unit).expect("the unit");
    // Above 1.5 of 10 it is an error.
    let analysed = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
        .arg(&unit)
        .output();
    let Ok(analysed) = analysed else {
        eprintln!("skipped: systemd-analyze is not there");
        return;
    };
    let said = String::from_utf8_lossy(&analysed.stdout);
    if !said.contains("Overall exposure level") {
        eprintln!("skipped: {}", String::from_utf8_lossy(&analysed.stderr));
        return;
    }
    assert!(analysed.status.success(), "{said}");
    assert!(text.contains("StateDirectoryMode=0700") && text.contains("LimitCORE=0"));
}
