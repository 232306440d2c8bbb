//! What an address is: reachable from everywhere, private, or nothing that a
//! guest has any business with.
//!
//! The tables are those of the IANA registries of special-purpose addresses
//! (RFC 6890 and its updates), the longest block that holds an address deciding.
//! A block that is forwarded but not globally reachable is private, as is the
//! machine itself; one that is not forwarded is reserved, and so is what a cloud
//! keeps its metadata at. IPv6 is reserved where nothing says otherwise: only
//! 2000::/3 is handed out.
//!
//! An IPv4 address inside an IPv6 one counts as what it is. Where a network
//! translates below a prefix of its own that nobody can know, it does not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Global,
    /// Reached by a host that was granted by its name.
    Private,
    /// Reached by no guest: link-local, multicast, metadata, documentation.
    Reserved,
}

use Kind::{Global, Private, Reserved};

/// The first address of a block, the length of its prefix, and what it is.
const V4: &[(Ipv4Addr, u8, Kind)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 0, Global),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Reserved), // this network, RFC 791: 0.0.0.0 is the machine itself
    (Ipv4Addr::new(10, 0, 0, 0), 8, Private), // RFC 1918
    (Ipv4Addr::new(100, 64, 0, 0), 10, Private), // shared address space, RFC 6598
    (Ipv4Addr::new(100, 100, 100, 200), 32, Reserved), // metadata of Alibaba Cloud
    (Ipv4Addr::new(127, 0, 0, 0), 8, Private), // loopback, RFC 1122
    (Ipv4Addr::new(168, 63, 129, 16), 32, Reserved), // the wire server of Azure
    (Ipv4Addr::new(169, 254, 0, 0), 16, Reserved), // link-local, RFC 3927, and metadata of most clouds
    (Ipv4Addr::new(172, 16, 0, 0), 12, Private), // RFC 1918
    (Ipv4Addr::new(192, 0, 0, 0), 24, Reserved), // protocol assignments, RFC 6890; metadata of Oracle Cloud
    (Ipv4Addr::new(192, 0, 0, 9), 32, Global), // port control anycast, RFC 7723
    (Ipv4Addr::new(192, 0, 0, 10), 32, Global), // TURN anycast, RFC 8155
    (Ipv4Addr::new(192, 0, 2, 0), 24, Reserved), // documentation, RFC 5737
    (Ipv4Addr::new(192, 31, 196, 0), 24, Global), // AS112, RFC 7535
    (Ipv4Addr::new(192, 52, 193, 0), 24, Global), // AMT, RFC 7450
    (Ipv4Addr::new(192, 88, 99, 0), 24, Reserved), // 6to4 relays, given up by RFC 7526
    (Ipv4Addr::new(192, 168, 0, 0), 16, Private), // RFC 1918
    (Ipv4Addr::new(192, 175, 48, 0), 24, Global), // AS112, RFC 7534
    (Ipv4Addr::new(198, 18, 0, 0), 15, Private), // benchmarks, RFC 2544: forwarded like RFC 1918
    (Ipv4Addr::new(198, 51, 100, 0), 24, Reserved), // documentation, RFC 5737
    (Ipv4Addr::new(203, 0, 113, 0), 24, Reserved), // documentation, RFC 5737
    (Ipv4Addr::new(224, 0, 0, 0), 4, Reserved), // multicast, RFC 5771
    (Ipv4Addr::new(240, 0, 0, 0), 4, Reserved), // future use and broadcast, RFC 1112, RFC 8190
];

const V6: &[(Ipv6Addr, u8, Kind)] = &[
    (block([0; 8]), 0, Reserved),                               // not handed out, RFC 4291
    (block([0, 0, 0, 0, 0, 0, 0, 1]), 128, Private),            // loopback, RFC 4291
    (block([0, 0, 0, 0, 0, 0xffff, 0, 0]), 96, Global),         // IPv4-mapped, RFC 4291: the address inside decides
    (block([0x64, 0xff9b, 0, 0, 0, 0, 0, 0]), 96, Global),      // NAT64, RFC 6052: the address inside decides
    (block([0x64, 0xff9b, 1, 0, 0, 0, 0, 0]), 48, Reserved),    // local NAT64, RFC 8215: inside at a place unknown
    (block([0x100, 0, 0, 0, 0, 0, 0, 0]), 64, Reserved),        // discarded, RFC 6666
    (block([0x100, 0, 0, 1, 0, 0, 0, 0]), 64, Reserved),        // dummy prefix, RFC 9780
    (block([0x2000, 0, 0, 0, 0, 0, 0, 0]), 3, Global),          // global unicast, RFC 4291
    (block([0x2001, 0, 0, 0, 0, 0, 0, 0]), 23, Reserved),       // protocol assignments, RFC 2928
    (block([0x2001, 0, 0, 0, 0, 0, 0, 0]), 32, Global),         // Teredo, RFC 4380: the addresses inside decide
    (block([0x2001, 1, 0, 0, 0, 0, 0, 1]), 128, Global),        // port control anycast, RFC 7723
    (block([0x2001, 1, 0, 0, 0, 0, 0, 2]), 128, Global),        // TURN anycast, RFC 8155
    (block([0x2001, 1, 0, 0, 0, 0, 0, 3]), 128, Global),        // DNS-SD anycast, RFC 9665
    (block([0x2001, 3, 0, 0, 0, 0, 0, 0]), 32, Global),         // AMT, RFC 7450
    (block([0x2001, 4, 0x112, 0, 0, 0, 0, 0]), 48, Global),     // AS112, RFC 7535
    (block([0x2001, 0x20, 0, 0, 0, 0, 0, 0]), 28, Global),      // ORCHIDv2, RFC 7343
    (block([0x2001, 0x30, 0, 0, 0, 0, 0, 0]), 28, Global),      // drone remote identification, RFC 9374
    (block([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0]), 32, Reserved),   // documentation, RFC 3849
    (block([0x2002, 0, 0, 0, 0, 0, 0, 0]), 16, Global),         // 6to4, RFC 3056: the address inside decides
    (block([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0]), 48, Global), // AS112, RFC 7534
    (block([0x3fff, 0, 0, 0, 0, 0, 0, 0]), 20, Reserved),       // documentation, RFC 9637
    (block([0x5f00, 0, 0, 0, 0, 0, 0, 0]), 16, Reserved),       // segment routing, RFC 9602
    (block([0xfc00, 0, 0, 0, 0, 0, 0, 0]), 7, Private),         // unique local, RFC 4193
    (block([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]), 128, Reserved), // metadata of Oracle Cloud
    (block([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0]), 32, Reserved),   // metadata, time and names of Amazon EC2
    (block([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]), 128, Reserved), // metadata of Google Cloud
    (block([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]), 128, Reserved), // metadata of Scaleway
    (block([0xfe80, 0, 0, 0, 0, 0, 0, 0]), 10, Reserved),       // link-local, RFC 4291
    (block([0xfec0, 0, 0, 0, 0, 0, 0, 0]), 10, Reserved),       // site-local, given up by RFC 3879
    (block([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8, Reserved),        // multicast, RFC 4291
];

const fn block(segments: [u16; 8]) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Addr::new(a, b, c, d, e, f, g, h)
}

/// What `address` is, and whatever it holds inside.
pub(super) fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => embedded(v6).into_iter().flatten().map(of_v4).fold(of_v6(v6), Kind::max),
    }
}

fn of_v4(address: Ipv4Addr) -> Kind {
    let bits = u32::from(address);
    let holds = |block: &Ipv4Addr, length: u8| {
        let rest = 32 - u32::from(length);
        bits.checked_shr(rest) == u32::from(*block).checked_shr(rest)
    };
    longest(V4, holds)
}

fn of_v6(address: Ipv6Addr) -> Kind {
    let bits = u128::from(address);
    let holds = |block: &Ipv6Addr, length: u8| {
        let rest = 128 - u32::from(length);
        bits.checked_shr(rest) == u128::from(*block).checked_shr(rest)
    };
    longest(V6, holds)
}

fn longest<T>(table: &[(T, u8, Kind)], holds: impl Fn(&T, u8) -> bool) -> Kind {
    let holding = table.iter().filter(|(block, length, _)| holds(block, *length));
    holding.max_by_key(|(_, length, _)| *length).map_or(Reserved, |(_, _, kind)| *kind)
}

/// The IPv4 addresses inside: of a mapped or translated one, of 6to4, of the
/// server and the client of Teredo, whose bits are turned over, and of ISATAP
/// (RFC 5214), which lies below any prefix.
fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [Some(join(high, low)), None],
        [0x2002, high, low, ..] => [Some(join(high, low)), None],
        [0x2001, 0, high, low, _, _, a, b] => [Some(join(high, low)), Some(join(!a, !b))],
        [.., 0 | 0x200, 0x5efe, high, low] => [Some(join(high, low)), None],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last address of each block, and their neighbours
    /// outside.
    #[test]
    fn blocks_of_ipv4_end_where_the_registry_says() {
        for (first, last, expected, before, behind) in [
            ("0.0.0.0", "0.255.255.255", Reserved, None, Some(Global)),
            ("10.0.0.0", "10.255.255.255", Private, Some(Global), Some(Global)),
            ("100.64.0.0", "100.100.100.199", Private, Some(Global), Some(Reserved)),
            ("100.100.100.200", "100.100.100.200", Reserved, Some(Private), Some(Private)),
            ("100.100.100.201", "100.127.255.255", Private, Some(Reserved), Some(Global)),
            ("127.0.0.0", "127.255.255.255", Private, Some(Global), Some(Global)),
            ("168.63.129.16", "168.63.129.16", Reserved, Some(Global), Some(Global)),
            ("169.254.0.0", "169.254.255.255", Reserved, Some(Global), Some(Global)),
            ("172.16.0.0", "172.31.255.255", Private, Some(Global), Some(Global)),
            ("192.0.0.0", "192.0.0.8", Reserved, Some(Global), Some(Global)),
            ("192.0.0.9", "192.0.0.10", Global, Some(Reserved), Some(Reserved)),
            ("192.0.0.11", "192.0.0.255", Reserved, Some(Global), Some(Global)),
            ("192.0.2.0", "192.0.2.255", Reserved, Some(Global), Some(Global)),
            ("192.31.196.0", "192.31.196.255", Global, Some(Global), Some(Global)),
            ("192.52.193.0", "192.52.193.255", Global, Some(Global), Some(Global)),
            ("192.88.99.0", "192.88.99.255", Reserved, Some(Global), Some(Global)),
            ("192.168.0.0", "192.168.255.255", Private, Some(Global), Some(Global)),
            ("192.175.48.0", "192.175.48.255", Global, Some(Global), Some(Global)),
            ("198.18.0.0", "198.19.255.255", Private, Some(Global), Some(Global)),
            ("198.51.100.0", "198.51.100.255", Reserved, Some(Global), Some(Global)),
            ("203.0.113.0", "203.0.113.255", Reserved, Some(Global), Some(Global)),
            ("224.0.0.0", "255.255.255.255", Reserved, Some(Global), None),
        ] {
            let (first, last): (Ipv4Addr, Ipv4Addr) = (first.parse().unwrap(), last.parse().unwrap());
            let of = |address: Ipv4Addr| kind(address.into());
            assert_eq!((of(first), of(last)), (expected, expected), "{first} to {last}");
            let before_first = u32::from(first).checked_sub(1).map(|bits| of(bits.into()));
            let behind_last = u32::from(last).checked_add(1).map(|bits| of(bits.into()));
            assert_eq!((before_first, behind_last), (before, behind), "around {first} to {last}");
        }
    }

    #[test]
    fn blocks_of_ipv6_end_where_the_registry_says() {
        for (first, last, expected, before, behind) in [
            ("::", "::", Reserved, None, Some(Private)),
            ("::1", "::1", Private, Some(Reserved), Some(Reserved)),
            ("::2", "::ffff:ffff", Reserved, Some(Private), Some(Reserved)),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Reserved), Some(Reserved)),
            ("100::", "100::1:ffff:ffff:ffff:ffff", Reserved, Some(Reserved), Some(Reserved)),
            ("2001:1::1", "2001:1::3", Global, Some(Reserved), Some(Reserved)),
            ("2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff", Global, Some(Reserved), Some(Reserved)),
            ("2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", Global, Some(Reserved), Some(Reserved)),
            ("2001:20::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff", Global, Some(Reserved), Some(Reserved)),
            ("2001:40::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Global), Some(Global)),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Global), Some(Global)),
            ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", Global, Some(Global), Some(Global)),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Global), Some(Global)),
            ("3fff:1000::", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Global, Some(Reserved), Some(Reserved)),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Global), Some(Private)),
            ("fc00::", "fd00:42::41", Private, Some(Reserved), Some(Reserved)),
            ("fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe", Reserved, Some(Private), Some(Private)),
            ("fd00:ec2::", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Private), Some(Private)),
            ("fd20:ce::254", "fd20:ce::254", Reserved, Some(Private), Some(Private)),
            ("fd20:ce::255", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Private, Some(Reserved), Some(Reserved)),
            ("fe00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Reserved, Some(Private), None),
        ] {
            let (first, last): (Ipv6Addr, Ipv6Addr) = (first.parse().unwrap(), last.parse().unwrap());
            let of = |address: Ipv6Addr| kind(address.into());
            assert_eq!((of(first), of(last)), (expected, expected), "{first} to {last}");
            let before_first = u128::from(first).checked_sub(1).map(|bits| of(bits.into()));
            let behind_last = u128::from(last).checked_add(1).map(|bits| of(bits.into()));
            assert_eq!((before_first, behind_last), (before, behind), "around {first} to {last}");
        }
        for global in ["2000::", "2606:4700::1111", "2001:200::", "2001:db9::"] {
            assert_eq!(kind(global.parse().unwrap()), Global, "{global}");
        }
        for reserved in ["5f00::1", "fe80::1", "fec0::1", "ff02::1", "::a00:1", "::8.8.8.8", "::ffff:0:8.8.8.8"] {
            assert_eq!(kind(reserved.parse().unwrap()), Reserved, "{reserved}");
        }
    }

    #[test]
    fn an_address_inside_counts_as_what_it_is() {
        for (v4, expected) in
            [("8.8.8.8", Global), ("10.1.2.3", Private), ("127.0.0.1", Private), ("169.254.169.254", Reserved)]
        {
            let v4: Ipv4Addr = v4.parse().unwrap();
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            for v6 in [
                v4.to_ipv6_mapped(),
                block([0x64, 0xff9b, 0, 0, 0, 0, high, low]),
                block([0x2002, high, low, 0, 0, 0, 0, 1]),
                block([0x2001, 0, high, low, 0, 0, !0x808, !0x808]),
                block([0x2001, 0, 0x808, 0x808, 0, 0, !high, !low]),
                block([0x2606, 0x4700, 0, 0, 0, 0x5efe, high, low]),
                block([0x2606, 0x4700, 0, 0, 0x200, 0x5efe, high, low]),
            ] {
                assert_eq!(kind(v6.into()), expected, "{v4} in {v6}");
            }
        }
        // What holds it counts as well.
        assert_eq!(kind("fd00::5efe:8.8.8.8".parse().unwrap()), Private);
        assert_eq!(kind("fe80::5efe:8.8.8.8".parse().unwrap()), Reserved);
    }
}
