//! What passes between a program that speaks IRC and a server in I2P. Programs tell more than their users know: host
//! names, addresses, what they are called, and by CTCP whatever they are asked; and by DCC they open connections outside
//! of I2P. So only what is known to be harmless passes.

use super::line::{Line, middle};

/// Commands of users, and of operators, which pass as they are.
const OUT: &[&str] = &[
    "ADCHAT",
    "ADDMOTD",
    "ADDOMOTD",
    "ADMIN",
    "AUTHENTICATE",
    "AWAY",
    "BOTSERV",
    "BS",
    "CAP",
    "CHANSERV",
    "CHATHISTORY",
    "CHATOPS",
    "CHGHOST",
    "CHGIDENT",
    "CHGNAME",
    "CLOSE",
    "CS",
    "CYCLE",
    "DCCALLOW",
    "DCCDENY",
    "DIE",
    "GLOBOPS",
    "GZLINE",
    "HELP",
    "HELPME",
    "HELPOP",
    "HELPSERV",
    "HOSTSERV",
    "HS",
    "HTM",
    "INFO",
    "INVITE",
    "ISON",
    "JOIN",
    "KICK",
    "KILL",
    "KLINE",
    "KNOCK",
    "LINKS",
    "LIST",
    "LOCOPS",
    "LUSERS",
    "MAP",
    "MEMOSERV",
    "MODE",
    "MONITOR",
    "MOTD",
    "MS",
    "NACHAT",
    "NAMES",
    "NICK",
    "NICKSERV",
    "NS",
    "OPER",
    "OPERMOTD",
    "OPERSERV",
    "OS",
    "PASS",
    "REHASH",
    "RESTART",
    "RULES",
    "SAJOIN",
    "SAMODE",
    "SAPART",
    "SDESC",
    "SETHOST",
    "SETIDENT",
    "SETNAME",
    "SHUN",
    "SILENCE",
    "SPAMFILTER",
    "SQUIT",
    "STATS",
    "STATSERV",
    "TEMPSHUN",
    "TIME",
    "TOPIC",
    "UNDCCDENY",
    "USERHOST",
    "VERSION",
    "VHOST",
    "WALLOPS",
    "WATCH",
    "WHO",
    "WHOIS",
    "WHOWAS",
    "ZLINE",
];
/// What a server says, besides numbers.
const IN: &[&str] = &[
    "ACCOUNT",
    "AUTHENTICATE",
    "AWAY",
    "BATCH",
    "CAP",
    "CHGHOST",
    "ERROR",
    "FAIL",
    "H",
    "INVITE",
    "JOIN",
    "KICK",
    "KILL",
    "MODE",
    "NICK",
    "NOTE",
    "PART",
    "QUIT",
    "SETNAME",
    "TOPIC",
    "WALLOPS",
    "WARN",
];
const CTCP: u8 = 1;

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// What the server wants to hear again.
    token: Option<Vec<u8>>,
    /// What the program called the server in its own question, which was not passed on.
    pinged: Option<Vec<u8>>,
}

impl Filter {
    /// A line of the program, as it goes on; `None` if it does not.
    pub(crate) fn outgoing(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let line = Line::parse(text)?;
        // A program does not say who it is ahead of its lines.
        if line.prefix.is_some() {
            return None;
        }
        let parameters = line.parameters();
        let first = parameters.first().copied();
        match () {
            () if line.is("PING") => {
                self.pinged = parameters.get(1).map(|name| name.to_vec());
                Some(said(b"PING", None, Some(first.unwrap_or(b"1"))))
            }
            // It holds the program's own host in some of them.
            () if line.is("PONG") => Some(said(b"PONG", None, Some(self.token.take().as_deref().unwrap_or(b"0")))),
            () if line.is("USER") => {
                let real = parameters.get(3).copied().unwrap_or(b"user");
                let rest = [first.and_then(middle).unwrap_or(b"user"), b"0 *"].join(&b' ');
                Some(said(b"USER", Some(&rest), Some(real)))
            }
            () if line.is("QUIT") => Some(said(b"QUIT", None, Some(b"leaving"))),
            () if line.is("PART") => Some(said(b"PART", Some(first.and_then(middle)?), Some(b"leaving"))),
            () if line.is("PRIVMSG") || line.is("NOTICE") => harmless(&line).then(|| without_tags(&line)),
            () if OUT.iter().any(|command| line.is(command)) && !line.rest.contains(&CTCP) => Some(without_tags(&line)),
            () => None,
        }
    }

    /// A line of the server, as the program reads it.
    pub(crate) fn incoming(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        let line = Line::parse(text)?;
        if line.is("PING") {
            self.token = line.parameters().first().map(|token| token.to_vec());
        }
        if line.is("PONG")
            && let (Some(name), Some(token)) = (self.pinged.take(), line.parameters().last())
        {
            return Some(said(b"PONG", Some(&name), Some(token)));
        }
        let number = line.command.len() == 3 && line.command.iter().all(u8::is_ascii_digit);
        let passes = match () {
            () if line.is("PRIVMSG") || line.is("NOTICE") => harmless(&line),
            () => number || line.is("PING") || line.is("PONG") || IN.iter().any(|command| line.is(command)),
        };
        passes.then(|| text.to_vec())
    }
}

/// Whether a message holds no question to the other program: of those only what people do in the third person passes.
fn harmless(line: &Line<'_>) -> bool {
    if [line.tags, line.prefix].into_iter().flatten().any(|part| part.contains(&CTCP)) {
        return false;
    }
    let parameters = line.parameters();
    let [target, text] = parameters.as_slice() else { return parameters.len() < 2 && !line.rest.contains(&CTCP) };
    if target.contains(&CTCP) {
        return false;
    }
    // One program asks in plain words, too.
    if line.is("NOTICE") && text.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"DCC ")) {
        return false;
    }
    match text.iter().filter(|b| **b == CTCP).count() {
        0 => true,
        2 => text.starts_with(b"\x01ACTION ") && text.ends_with(&[CTCP]),
        _ => false,
    }
}

/// The line of a program without its tags, which say when it was typed, and with what.
fn without_tags(line: &Line<'_>) -> Vec<u8> {
    if line.rest.is_empty() { line.command.to_vec() } else { [line.command, line.rest].join(&b' ') }
}

fn said(command: &[u8], middle: Option<&[u8]>, last: Option<&[u8]>) -> Vec<u8> {
    let mut out = command.to_vec();
    if let Some(middle) = middle {
        out.push(b' ');
        out.extend(middle);
    }
    if let Some(last) = last {
        out.extend(b" :");
        out.extend(last);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn out(line: &str) -> Option<String> {
        Filter::default().outgoing(line.as_bytes()).map(|line| String::from_utf8(line).unwrap())
    }

    fn inward(line: &str) -> Option<String> {
        Filter::default().incoming(line.as_bytes()).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn a_message_without_a_target_hides_no_question() {
        let mut filter = Filter::default();
        for line in
            ["PRIVMSG me\x01", "NOTICE \x01VERSION\x01", "PRIVMSG :\x01VERSION\x01", "PRIVMSG a b \x01VERSION\x01"]
        {
            assert_eq!((filter.outgoing(line.as_bytes()), filter.incoming(line.as_bytes())), (None, None), "{line}");
        }
    }

    #[test]
    fn what_a_program_tells_of_its_user_is_cleaned() {
        let cases = [
            ("USER root laptop irc.example.net :John Doe", "USER root 0 * :John Doe"),
            ("user me 8 * :x", "USER me 0 * :x"),
            ("USER me", "USER me 0 * :user"),
            // A last parameter may hold spaces, and would be several ones ahead of others.
            ("USER :a laptop home x", "USER a 0 * :user"),
            ("USER ::a b", "USER a 0 * :user"),
            ("USER :", "USER user 0 * :user"),
            ("PART :#i2p #home", "PART #i2p :leaving"),
            ("QUIT :WeeChat 4.0 on laptop", "QUIT :leaving"),
            ("quit", "QUIT :leaving"),
            ("PART #i2p :Konversation terminated!", "PART #i2p :leaving"),
            ("PING 123 127.0.0.1", "PING :123"),
            ("PING", "PING :1"),
            ("@+typing=active PRIVMSG #i2p :hello", "PRIVMSG #i2p :hello"),
        ];
        for (line, wanted) in cases {
            assert_eq!(out(line).as_deref(), Some(wanted), "{line}");
        }
        let pass = [
            "NICK me",
            "JOIN #i2p",
            "PRIVMSG #i2p :hello all",
            "PRIVMSG bob hi",
            "NOTICE bob :text",
            "PRIVMSG #i2p :\x01ACTION waves\x01",
            "CAP LS 302",
            "AUTHENTICATE PLAIN",
            "MODE #i2p +o bob",
            "WHO #i2p",
            "NICKSERV IDENTIFY x",
            "MOTD",
            "PASS secret",
        ];
        for line in pass {
            assert_eq!(out(line).as_deref(), Some(line));
        }
    }

    #[test]
    fn questions_to_programs_and_ways_outside_do_not_pass_either_way() {
        let blocked = [
            "PRIVMSG bob :\x01VERSION\x01",
            "PRIVMSG bob \x01VERSION\x01",
            "privmsg bob :\x01VERSION",
            "PRIVMSG bob :x \x01VERSION\x01",
            "PRIVMSG bob :\x01ACTION x\x01 \x01VERSION\x01",
            "PRIVMSG bob :\x01ACTION x\x01y",
            "PRIVMSG bob :\x01DCC SEND f 2130706433 4000 5\x01",
            "NOTICE bob :\x01PING 1\x01",
            "NOTICE bob :DCC Send f (127.0.0.1)",
            "NOTICE bob :\x01TIME Wed\x01",
            "PRIVMSG \x01VERSION\x01 :x",
        ];
        for line in blocked {
            assert_eq!(out(line), None, "{line:?}");
            assert_eq!(inward(&format!(":eve!u@h {line}")), None, "{line:?}");
        }
        for line in
            ["IDENT x", "PROXY 127.0.0.1", ":me PRIVMSG #i2p :x", "TAGMSG #i2p", "WEBIRC x y z 1.2.3.4", "SUMMON", ""]
        {
            assert_eq!(out(line), None, "{line}");
        }
        for line in [":irc.i2p FOO", "", ":x", "DCC x"] {
            assert_eq!(inward(line), None, "{line}");
        }
        let pass = [
            ":irc.i2p 001 me :Welcome",
            ":bob!u@h PRIVMSG #i2p :hello",
            ":bob!u@h PRIVMSG #i2p :\x01ACTION waves\x01",
            "@time=2026-01-01T00:00:00Z :bob!u@h PRIVMSG me :x",
            "ERROR :Closing link",
            ":irc.i2p CAP * LS :sasl",
            ":bob!u@h JOIN #i2p",
            "AUTHENTICATE +",
            "PING :1.2.3",
        ];
        for line in pass {
            assert_eq!(inward(line).as_deref(), Some(line));
        }
    }

    #[test]
    fn a_servers_question_is_answered_with_its_own_word() {
        let mut filter = Filter::default();
        filter.incoming(b"PING :cookie 17").unwrap();
        assert_eq!(filter.outgoing(b"PONG laptop.local :whatever").unwrap(), b"PONG :cookie 17");
        assert_eq!(filter.outgoing(b"PONG laptop.local").unwrap(), b"PONG :0", "asked once, answered once");
        // A program that names the server as it sees it reads that name again.
        filter.outgoing(b"PING 99 127.0.0.1").unwrap();
        assert_eq!(filter.incoming(b":irc.i2p PONG irc.i2p :99").unwrap(), b"PONG 127.0.0.1 :99");
        assert_eq!(filter.incoming(b":irc.i2p PONG irc.i2p :5").unwrap(), b":irc.i2p PONG irc.i2p :5");
    }

    proptest! {
        #[test]
        fn nothing_that_passes_holds_a_question(line in prop::collection::vec(prop_oneof![Just(1u8), Just(b' '), Just(b':'), 32u8..127], 0..60)) {
            super::super::fuzzing::irc(&line);
            super::super::fuzzing::irc(&[b"PRIVMSG a :", &line[..]].concat());
            super::super::fuzzing::irc(&[b"NOTICE a ", &line[..]].concat());
        }
    }
}
