//! The machine's table of neighbours (ARP), which all network namespaces share.
//!
//! A network of 30 routers that know each other fills most of the 1,024 places that Linux gives it. Where it is full,
//! connections time out between routers that are well, and that looks like their fault.

/// How often an entry found no room since the machine started; none where the system does not say.
pub(crate) fn refused() -> u64 {
    std::fs::read_to_string("/proc/net/stat/arp_cache").map_or(0, |text| sum(&text))
}

/// The sum over all processors of the column `table_fulls`, in hexadecimal.
fn sum(text: &str) -> u64 {
    let mut lines = text.lines();
    let Some(column) = lines.next().and_then(|head| head.split_whitespace().position(|name| name == "table_fulls"))
    else {
        return 0;
    };
    let value = |line: &str| u64::from_str_radix(line.split_whitespace().nth(column)?, 16).ok();
    lines.filter_map(value).sum()
}

/// What to say beside a failure, when entries were refused since `before`.
pub(crate) fn warning(before: u64) -> Option<String> {
    let more = refused().saturating_sub(before);
    (more > 0).then(|| {
        format!(
            "the machine's table of neighbours was full {more} times, so connections were lost: run fewer networks at \
             once, or raise net.ipv4.neigh.default.gc_thresh3"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_all_processors_are_summed() {
        let text = "entries  allocs table_fulls\n0000040d 00006bb1 0000483f\n0000040d 00006740 00000001\n";
        assert_eq!(sum(text), 0x4840);
        assert_eq!(sum("entries  allocs\n1 2\n"), 0);
        assert_eq!(sum(""), 0);
    }
}
