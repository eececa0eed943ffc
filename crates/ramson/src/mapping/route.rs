//! The default gateway, out of the kernel's table of routes.

use std::net::Ipv4Addr;

/// Where Linux shows it.
const TABLE: &str = "/proc/self/net/route";
/// Lines that are looked at; whoever has more routes is no home.
const LINES: usize = 256;
/// The route leads to a gateway (`RTF_UP | RTF_GATEWAY`).
const TO_GATEWAY: u32 = 3;

/// The gateway of the default route with the smallest metric. `None` where there is none, and on systems that do not
/// say it so.
pub(super) fn default_gateway() -> Option<Ipv4Addr> {
    gateway_in(&std::fs::read_to_string(TABLE).ok()?)
}

/// Columns: interface, destination, gateway, flags, two counters, metric, mask; addresses in the machine's order of bytes.
fn gateway_in(table: &str) -> Option<Ipv4Addr> {
    let number = |text: Option<&&str>| text.and_then(|text| u32::from_str_radix(text, 16).ok());
    let mut best: Option<(u32, Ipv4Addr)> = None;
    for line in table.lines().skip(1).take(LINES) {
        let columns: Vec<&str> = line.split_whitespace().take(8).collect();
        let (destination, gateway, flags) = (number(columns.get(1)), number(columns.get(2)), number(columns.get(3)));
        let metric = columns.get(6).and_then(|text| text.parse::<u32>().ok());
        let mask = number(columns.get(7));
        let (Some(0), Some(gateway), Some(flags), Some(metric), Some(0)) = (destination, gateway, flags, metric, mask)
        else {
            continue;
        };
        let gateway = Ipv4Addr::from(gateway.to_ne_bytes());
        if flags & TO_GATEWAY == TO_GATEWAY && best.is_none_or(|(least, _)| metric < least) {
            best = Some((metric, gateway));
        }
    }
    best.map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    fn line(destination: [u8; 4], gateway: [u8; 4], flags: u32, metric: u32, mask: [u8; 4]) -> String {
        let hex = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        format!("eth0\t{}\t{}\t{flags:04X}\t0\t0\t{metric}\t{}\t0\t0\t0\n", hex(destination), hex(gateway), hex(mask))
    }

    #[test]
    fn the_best_default_route_to_a_gateway_is_taken() {
        let any = [0; 4];
        let table = [
            HEAD.to_owned(),
            line([192, 168, 1, 0], any, 1, 0, [255, 255, 255, 0]),
            line(any, [192, 168, 1, 2], 3, 600, any),
            line(any, [192, 168, 1, 1], 3, 100, any),
            // On the link, without a gateway; and a half of the world, as tunnels have it.
            line(any, any, 1, 0, any),
            line(any, [10, 0, 0, 1], 3, 0, [128, 0, 0, 0]),
        ];
        assert_eq!(gateway_in(&table.concat()), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(gateway_in(&[HEAD.to_owned(), line(any, any, 1, 0, any)].concat()), None);
        assert_eq!(gateway_in(""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,300}", lines in proptest::collection::vec("[0-9A-Fx\t -]{0,80}", 0..9)) {
            gateway_in(&text);
            gateway_in(&lines.join("\n"));
        }
    }
}
