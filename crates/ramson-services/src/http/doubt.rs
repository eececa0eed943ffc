//! What the proxy says of names: that one can be taken for another, and who may know one that is known to no list here.

use super::pages::escape;
use crate::names::{Host, HostName, I2pUrl, Names, oddity};
use ramson_wire::data::base32;
use std::fmt::Write as _;

/// What may deceive about a name.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    /// Escaped HTML.
    pub(crate) html: String,
    /// The user must read it before he goes on.
    pub(crate) is_warning: bool,
}

impl Doubt {
    /// What there is to say of a name, which may be nothing.
    pub(crate) fn of(names: &Names, name: &HostName) -> Self {
        let (odd, alike) = (oddity(name), names.look_alikes(name));
        let is_warning = !alike.is_empty() || odd.as_ref().is_some_and(|odd| odd.why.is_some());
        let mut html = String::new();
        if is_warning {
            html.push_str("<p><strong>Look twice: this name may not be the one that you think of.</strong></p>");
        }
        if let Some(odd) = odd {
            let _ = write!(
                html,
                "<p>Your browser may show it as <strong>{}</strong>. {}</p>",
                escape(&odd.shown),
                odd.why.unwrap_or_default()
            );
        }
        if !alike.is_empty() {
            html.push_str("<p>It looks like these names, which are other sites:</p><table>");
            for (other, destination, source) in alike {
                let b32 = base32::host_name(&destination.hash());
                let _ = write!(html, "<tr><th>{other}</th><td><code>{b32}</code>, from {source}</td></tr>");
            }
            html.push_str("</table>");
        }
        Self { html, is_warning }
    }
}

/// Links to services that may know a name. Those whose own names are not known here are left out.
pub(crate) fn jumps(services: &[I2pUrl], names: &Names, name: &HostName) -> String {
    let reachable = |service: &&I2pUrl| match service.host() {
        Host::B32(_) => true,
        Host::Name(host) => host != name && names.resolve(host).is_some(),
    };
    let link = |service: &I2pUrl| {
        let url = escape(&format!("{}{name}", service.as_str()));
        let host = escape(service.host_name());
        format!("<li><a rel=\"noreferrer\" href=\"{url}\">{host}</a></li>")
    };
    let links: String = services.iter().filter(reachable).map(link).collect();
    if links.is_empty() {
        return links;
    }
    format!(
        "<p>These services look names up. Each sees that you ask for this one, and says what it likes: your router asks \
         you before it takes the answer.</p><ul>{links}</ul>"
    )
}
