//! Which addresses the operator connects to. Without this check, anybody who may write a `FhirServer`, and every server
//! named by one, could make the operator send requests to machines that only the operator can reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Self {
        Self(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)))
    }

    const fn v6(segments: [u16; 8], length: u8) -> Self {
        Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), length)))
    }

    /// Parses `address/length`, or a single address. Bits beyond the length must be zero, because otherwise
    /// it is a typing error.
    pub fn parse(text: &str) -> Option<Self> {
        let network =
            if text.contains('/') { text.parse().ok()? } else { IpNet::from(text.parse::<IpAddr>().ok()?) };
        (network.addr() == network.network()).then_some(Self(network))
    }

    /// Whether the range contains the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Addresses that belong to the node or its cloud, or to no host. No FHIR server has such an address.
const NEVER: [Network; 12] = [
    Network::v4(0, 0, 0, 0, 8),
    // Link-local: the metadata services of clouds, which issue tokens.
    Network::v4(169, 254, 0, 0, 16),
    // The corresponding services of Azure, Alibaba and Oracle that are not link-local.
    Network::v4(168, 63, 129, 16, 32),
    Network::v4(100, 100, 100, 200, 32),
    Network::v4(192, 0, 0, 0, 24),
    // Multicast, reserved and broadcast addresses.
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
    Network::v6([0; 8], 128),
    Network::v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    Network::v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    // The node-local services of AWS (metadata, pod identities, DNS) and the metadata service of Google over IPv6.
    Network::v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
];

/// Addresses that are not public: loopback, private networks, and ranges for documentation and benchmarks.
const NOT_PUBLIC: [Network; 17] = [
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    Network::v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    Network::v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    // Teredo, which encodes the destination's IPv4 address in disguise.
    Network::v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    Network::v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    Network::v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
];

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, translated (NAT64), 6to4 or ISATAP.
///
/// The prefix for local NAT64 (RFC 8215) does not fix the position of the IPv4 address. An address under it
/// that does not end in an IPv4 address counts as 0.0.0.0, which nothing connects to.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let segments = v6.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => of(high, low),
        [0x64, 0xff9b, 1, .., 0] => of(0, 0),
        [0x64, 0xff9b, 1, .., high, low] => of(high, low),
        _ => None,
    }
}

/// Why the operator does not connect to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReached {
    /// The address belongs to the node or its cloud, or to no host.
    Never,
    /// The address is in a network that the operator's owner refuses.
    Refused(Network),
    /// The address is not public, and the `FhirServer` does not name the host.
    NotPublic,
}

impl fmt::Display for NotReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => {
                f.write_str("which belongs to the node or its cloud, so the operator never connects to it")
            }
            Self::Refused(network) => {
                write!(f, "and the operator connects to nothing in {network} (--refused-networks)")
            }
            Self::NotPublic => f.write_str("which is not public, and the FhirServer does not name the host"),
        }
    }
}

/// The addresses that connections may go to, depending on who named the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    refused: Vec<Network>,
    public_only: bool,
}

impl Reach {
    /// For hosts that a `FhirServer` names: also private addresses, which servers of hospitals have, except
    /// those in `refused`.
    pub fn named(refused: Vec<Network>) -> Self {
        Self { refused, public_only: false }
    }

    /// For hosts that only a server named: public addresses only.
    #[must_use]
    pub fn public(&self) -> Self {
        Self { public_only: true, ..self.clone() }
    }

    /// Checks whether the operator may connect to an address. An address that stands for another one must
    /// pass as both.
    pub fn admits(&self, address: IpAddr) -> Result<(), NotReached> {
        let both = [Some(address), embedded(address)];
        let within = |networks: &[Network]| {
            networks.iter().find(|network| both.iter().flatten().any(|a| network.contains(*a))).copied()
        };
        if within(&NEVER).is_some() {
            return Err(NotReached::Never);
        }
        if let Some(network) = within(&self.refused) {
            return Err(NotReached::Refused(network));
        }
        if self.public_only && within(&NOT_PUBLIC).is_some() {
            return Err(NotReached::NotPublic);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::{Host, Url};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_node_and_its_cloud_are_never_reached() {
        for text in [
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:ec2::253",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:abcd::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2606:4700::5efe:169.254.169.254",
            "2606:4700::200:5efe:169.254.169.254",
        ] {
            assert_eq!(Reach::default().admits(address(text)), Err(NotReached::Never), "{text}");
        }
    }

    #[test]
    fn private_ones_are_reached_where_they_are_named() {
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "::1",
            "fd00::1",
            "fc00::1",
            "2001:0:1::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:0001::",
            "64:ff9b:1::10.0.0.1",
            "2606:4700::5efe:10.0.0.1",
        ] {
            let named = Reach::default();
            assert_eq!(named.admits(address(text)), Ok(()), "{text}");
            assert_eq!(named.public().admits(address(text)), Err(NotReached::NotPublic), "{text}");
        }
        for text in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
        {
            assert_eq!(Reach::default().public().admits(address(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn the_operator_s_owner_refuses_more() {
        let network = |text: &str| Network::parse(text).unwrap();
        let reach = Reach::named(vec![network("127.0.0.0/8"), network("::1"), network("10.96.0.0/12")]);
        for (text, refused) in [
            ("127.0.0.1", Some("127.0.0.0/8")),
            ("::ffff:127.0.0.1", Some("127.0.0.0/8")),
            ("::1", Some("::1/128")),
            ("10.96.0.1", Some("10.96.0.0/12")),
            ("10.112.0.1", None),
            ("8.8.8.8", None),
        ] {
            let told = reach.admits(address(text)).err();
            assert_eq!(told, refused.map(|n| NotReached::Refused(network(n))), "{text}");
        }
        assert_eq!(network("10.96.0.0/12").to_string(), "10.96.0.0/12");
        for wrong in
            ["", "10.0.0.0/33", "10.0.0.1/8", "::1/129", "fd00::1/7", "10.0.0.0/x", "10/8", "fe80::1%eth0"]
        {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
        assert!(
            network("0.0.0.0/0").contains(address("1.2.3.4")) && network("::/0").contains(address("::7"))
        );
        assert!(!network("0.0.0.0/0").contains(address("::7")));
    }

    /// Every spelling of an address in a URL is parsed as that address.
    #[test]
    fn disguises_of_an_address_in_a_url() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "0x7f.1",
            "127.0.0.1.",
            "127。0。0。1",
            "①②⑦.0.0.1",
            "%31%32%37.0.0.1",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
        ] {
            let url = Url::parse(&format!("https://{host}/x")).unwrap();
            let address = match url.host() {
                Some(Host::Ipv4(address)) => IpAddr::V4(address),
                Some(Host::Ipv6(address)) => IpAddr::V6(address),
                other => panic!("{host} reads as {other:?}"),
            };
            assert!(Reach::default().public().admits(address).is_err(), "{host}");
        }
        for none in ["[fe80::1%25eth0]", "[fe80::1%eth0]", "127.0.0.1:99999", "0x100000000", "1.2.3.4.5"] {
            assert!(Url::parse(&format!("https://{none}/")).is_err(), "{none}");
        }
    }

    proptest! {
        #[test]
        fn an_embedded_address_is_judged_as_itself(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = v4.octets();
            let pair = |a: u8, b: u8| u16::from_be_bytes([a, b]);
            let forms = [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, pair(a, b), pair(c, d)),
                Ipv6Addr::new(0x2002, pair(a, b), pair(c, d), 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0x5efe, pair(a, b), pair(c, d)),
            ];
            let public = Reach::default().public();
            for form in forms {
                prop_assert_eq!(public.admits(form.into()), public.admits(v4.into()), "{}", form);
            }
        }

        #[test]
        fn what_is_refused_is_so_at_any_length(bits in any::<u32>(), length in 0_u8..=32) {
            let base = Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().network();
            let network = Network::parse(&format!("{base}/{length}")).unwrap();
            prop_assert!(network.contains(Ipv4Addr::from_bits(bits).into()));
            prop_assert!(Reach::named(vec![network]).admits(Ipv4Addr::from_bits(bits).into()).is_err());
        }
    }
}
