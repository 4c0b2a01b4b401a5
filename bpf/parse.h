/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* From a frame to the connection that it belongs to, as the pod at this link sees it. */
#ifndef LICTOR_PARSE_H
#define LICTOR_PARSE_H
#include "maps.h"

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

/* What is to be done with a frame. */
enum kind {
	PASS,     /* link plumbing (ARP, neighbour discovery), and errors about a known connection */
	DROP,     /* silently: link noise */
	REFUSE,   /* drop, and count `packet.reason` */
	TRACK,    /* judge it by its connection */
	LATER,    /* a fragment that is not the first */
};

struct packet {
	struct flow_key key;
	struct address own;
	__u32 payload; /* bytes above the transport header */
	__u32 sequence;
	__u32 fragment; /* identification, when `fragmented` */
	__u8 fragmented, direction, tcp, reason;
	__u8 opens; /* no answer to anything: a first SYN, an echo request */
	__u8 type;  /* of an ICMP message */
	__u8 asks;  /* the type that policies are asked about */
	__u8 pad;
};

/* Where the transport header is, and what it is. */
struct transport {
	__u32 at;
	__u32 length; /* bytes from there to the end of the packet */
	__u8 protocol, later, unicast, hops;
};

#define LOAD(skb, at, into) (bpf_skb_load_bytes(skb, at, into, sizeof(*(into))) == 0)

static __always_inline int refuse(struct packet *packet, __u8 reason)
{
	packet->reason = reason;
	return REFUSE;
}

/* Puts the two ends where they belong; the own one must be the endpoint's. */
static __always_inline int place(struct packet *packet, struct endpoint *own, const struct address *source,
				 const struct address *destination)
{
	const struct address *mine = packet->direction == EGRESS ? source : destination;
	const struct address *other = packet->direction == EGRESS ? destination : source;
	packet->own = *mine;
	packet->key.peer = *other;
	for (int i = 0; i < ENDPOINT_ADDRESSES; i++)
		if (i < own->count && same(&own->addresses[i], mine)) {
			packet->key.index = i;
			return 1;
		}
	return 0;
}

/* ARP goes on if the pod speaks for itself: the address that it announces is its own. */
static __always_inline int parse_arp(struct __sk_buff *skb, struct packet *packet, struct endpoint *own)
{
	struct arp arp;
	if (!LOAD(skb, ETH_HEADER, &arp))
		return refuse(packet, MALFORMED);
	if (packet->direction == INGRESS)
		return PASS;
	__be32 sender = *(__be32 *)arp.sender;
	if (!sender)
		return PASS; /* a probe, RFC 5227 */
	struct address announced;
	map_ipv4(&announced, sender);
	for (int i = 0; i < ENDPOINT_ADDRESSES; i++)
		if (i < own->count && same(&own->addresses[i], &announced))
			return PASS;
	return refuse(packet, SPOOFED);
}

/* Neighbour discovery (RFC 4861) never leaves the link, hence the hop limit. A pod may ask, and answer for
 * itself; it is no router. What else is multicast on the link (listener reports) nobody here needs. */
static __always_inline int parse_neighbour(struct __sk_buff *skb, struct packet *packet, struct endpoint *own,
					   struct transport *transport, __u8 type)
{
	struct address target;
	if (type >= 130 && type <= 132)
		return DROP;
	if (type == 143 || type == 133 || type == 134 || type == 137)
		return DROP;
	if (transport->hops != 255 || !LOAD(skb, transport->at + 8, &target))
		return refuse(packet, MALFORMED);
	if (packet->direction == INGRESS || type == 135)
		return PASS;
	if ((target.word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))
		return PASS;
	for (int i = 0; i < ENDPOINT_ADDRESSES; i++)
		if (i < own->count && same(&own->addresses[i], &target))
			return PASS;
	return refuse(packet, SPOOFED);
}

/* The type of the question that an ICMP message answers; its own if it answers none. */
static __always_inline __u8 question_of(__u8 type, int ipv4)
{
	if (!ipv4)
		return type == 129 || type == 161 ? type - 1 : type;
	if (type == 0)
		return 8;
	return type == 14 || type == 16 || type == 18 || type == 43 ? type - 1 : type;
}

/* Whether an ICMP error is about a connection of this pod: what the pod sent is quoted to it, and it quotes what
 * it was sent. Errors about packets with extension headers are judged as any ICMP. */
static __always_inline int is_related(struct __sk_buff *skb, struct packet *packet, struct endpoint *own,
					__u32 at, int ipv4)
{
	struct address source, destination;
	__u8 protocol;
	if (ipv4) {
		struct ipv4 ip;
		if (!LOAD(skb, at, &ip) || ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5)
			return 0;
		if (ip.fragment & bpf_htons(0x1fff))
			return 0;
		map_ipv4(&source, ip.source);
		map_ipv4(&destination, ip.destination);
		protocol = ip.protocol;
		at += (ip.version_ihl & 15) * 4;
	} else {
		struct ipv6 ip;
		if (!LOAD(skb, at, &ip) || (ip.flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
			return 0;
		__builtin_memcpy(&source, ip.source, sizeof(source));
		__builtin_memcpy(&destination, ip.destination, sizeof(destination));
		protocol = ip.next;
		at += sizeof(ip);
	}
	__be16 ports[2] = {};
	__u16 kind = 0;
	if (protocol == PROTO_TCP || protocol == PROTO_UDP || protocol == PROTO_SCTP) {
		if (!LOAD(skb, at, &ports))
			return 0;
	} else if (protocol == PROTO_ICMP || protocol == PROTO_ICMPV6) {
		__u8 type;
		if (!LOAD(skb, at, &type))
			return 0;
		kind = question_of(type, ipv4);
		int echo = kind == (ipv4 ? 8 : 128);
		if (echo && !LOAD(skb, at + 4, &ports[0]))
			return 0;
		ports[1] = ports[0];
	}
	/* The quoted packet went the other way. */
	struct packet quoted = { .direction = packet->direction == EGRESS ? INGRESS : EGRESS };
	if (!place(&quoted, own, &source, &destination))
		return 0;
	quoted.key.endpoint = packet->key.endpoint;
	quoted.key.protocol = protocol;
	quoted.key.kind = kind;
	quoted.key.own_port = bpf_ntohs(quoted.direction == EGRESS ? ports[0] : ports[1]);
	quoted.key.peer_port = bpf_ntohs(quoted.direction == EGRESS ? ports[1] : ports[0]);
	struct flow *flow = bpf_map_lookup_elem(&FLOWS, &quoted.key);
	return flow && !(flow->state & FLOW_ENDED);
}

static __always_inline int parse_ports(struct __sk_buff *skb, struct packet *packet, __u32 at, __u32 *header)
{
	__be16 ports[2];
	if (!LOAD(skb, at, &ports))
		return 0;
	__u16 source = bpf_ntohs(ports[0]), destination = bpf_ntohs(ports[1]);
	packet->key.own_port = packet->direction == EGRESS ? source : destination;
	packet->key.peer_port = packet->direction == EGRESS ? destination : source;
	if (packet->key.protocol == PROTO_UDP) {
		*header = 8;
		return 1;
	}
	if (packet->key.protocol == PROTO_SCTP) {
		*header = 12;
		return 1;
	}
	struct {
		__be32 sequence, acknowledged;
		__u8 offset, flags;
		__be16 window;
	} tcp;
	if (!LOAD(skb, at + 4, &tcp) || (tcp.offset >> 4) < 5)
		return 0;
	if ((tcp.flags & TCP_SYN) && (tcp.flags & (TCP_FIN | TCP_RST)))
		return 0;
	packet->tcp = tcp.flags;
	packet->opens = (tcp.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	packet->sequence = bpf_ntohl(tcp.sequence);
	*header = (tcp.offset >> 4) * 4;
	return 1;
}

/* Reads the IPv4 header, options and all. */
static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *packet, struct transport *transport,
				      struct address *source, struct address *destination)
{
	struct ipv4 ip;
	if (!LOAD(skb, ETH_HEADER, &ip) || ip.version_ihl >> 4 != 4 || (ip.version_ihl & 15) < 5)
		return 0;
	__u32 header = (ip.version_ihl & 15) * 4, length = bpf_ntohs(ip.length), there = skb->len - ETH_HEADER;
	/* A length of 0 is a segment that is still to be cut (BIG TCP). */
	if (!length)
		length = there;
	if (length < header || length > there)
		return 0;
	map_ipv4(source, ip.source);
	map_ipv4(destination, ip.destination);
	transport->at = ETH_HEADER + header;
	transport->length = length - header;
	transport->protocol = ip.protocol;
	transport->unicast = (ip.destination & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000) &&
			     ip.destination != 0xffffffff;
	__u16 fragment = bpf_ntohs(ip.fragment);
	packet->fragmented = (fragment & 0x3fff) != 0;
	packet->fragment = ip.id;
	transport->later = (fragment & 0x1fff) != 0;
	return 1;
}

/* Reads the IPv6 header and at most eight extension headers (RFC 8200 section 4). */
static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *packet, struct transport *transport,
				      struct address *source, struct address *destination)
{
	struct ipv6 ip;
	if (!LOAD(skb, ETH_HEADER, &ip) || (ip.flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return 0;
	__u32 length = bpf_ntohs(ip.length), there = skb->len - ETH_HEADER - sizeof(ip);
	if (skb->len < ETH_HEADER + sizeof(ip))
		return 0;
	if (!length)
		length = there; /* a jumbogram that is still to be cut */
	if (length > there)
		return 0;
	__builtin_memcpy(source, ip.source, sizeof(*source));
	__builtin_memcpy(destination, ip.destination, sizeof(*destination));
	if (is_ipv4(source) || is_ipv4(destination))
		return 0; /* never on the wire */
	transport->unicast = (ip.destination[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000);
	transport->hops = ip.hops;
	__u32 at = ETH_HEADER + sizeof(ip), end = at + length;
	__u8 next = ip.next;
	for (int step = 0; step < 8; step++) {
		struct {
			__u8 next, length, type, left;
		} extension;
		if (next == PROTO_FRAGMENT) {
			struct {
				__u8 next, reserved;
				__be16 offset;
				__be32 id;
			} fragment;
			if (!LOAD(skb, at, &fragment))
				return 0;
			packet->fragmented = (fragment.offset & bpf_htons(0xfff9)) != 0;
			packet->fragment = fragment.id;
			transport->later = (fragment.offset & bpf_htons(0xfff8)) != 0;
			next = fragment.next;
			at += sizeof(fragment);
			if (transport->later)
				break;
			continue;
		}
		if (next != PROTO_HOP_BY_HOP && next != PROTO_ROUTING && next != PROTO_DESTINATION &&
		    next != PROTO_AUTHENTICATION)
			break;
		if (!LOAD(skb, at, &extension))
			return 0;
		if (next == PROTO_ROUTING && extension.left)
			return 0; /* it would go on to another destination than the one that is judged */
		at += next == PROTO_AUTHENTICATION ? (extension.length + 2) * 4 : (extension.length + 1) * 8;
		next = extension.next;
	}
	if (next == PROTO_HOP_BY_HOP || next == PROTO_ROUTING || next == PROTO_DESTINATION ||
	    next == PROTO_AUTHENTICATION || at > end)
		return 0;
	transport->at = at;
	transport->length = end - at;
	transport->protocol = next;
	return 1;
}

__noinline int parse(struct __sk_buff *skb, struct packet *packet, struct endpoint *own)
{
	if (!packet || !own)
		return DROP;
	struct transport transport = {};
	struct address source, destination;
	int ipv4 = skb->protocol == bpf_htons(ETH_IPV4);
	/* The kernel takes a VLAN's tag out of the frame before it shows it. */
	if (skb->vlan_present)
		return refuse(packet, PROTOCOL);
	if (skb->protocol == bpf_htons(ETH_ARP))
		return parse_arp(skb, packet, own);
	if (ipv4) {
		if (!parse_ipv4(skb, packet, &transport, &source, &destination))
			return refuse(packet, MALFORMED);
	} else if (skb->protocol == bpf_htons(ETH_IPV6)) {
		if (!parse_ipv6(skb, packet, &transport, &source, &destination))
			return refuse(packet, MALFORMED);
	} else {
		return refuse(packet, PROTOCOL);
	}
	packet->key.protocol = transport.protocol;
	int placed = place(packet, own, &source, &destination);

	__u8 type = 0;
	int icmp = !transport.later && transport.protocol == (ipv4 ? PROTO_ICMP : PROTO_ICMPV6);
	if (icmp && !LOAD(skb, transport.at, &type))
		return refuse(packet, MALFORMED);
	if (icmp && !ipv4 && ((type >= 130 && type <= 137) || type == 143))
		return parse_neighbour(skb, packet, own, &transport, type);
	if (!placed) /* flooded by the bridge on the way in, forged on the way out */
		return packet->direction == INGRESS ? DROP : refuse(packet, SPOOFED);
	if (transport.later)
		return LATER;

	__u32 header = 0;
	if (transport.protocol == PROTO_TCP || transport.protocol == PROTO_UDP ||
	    transport.protocol == PROTO_SCTP) {
		if (!parse_ports(skb, packet, transport.at, &header) || header > transport.length)
			return refuse(packet, MALFORMED);
	} else if (icmp) {
		int error = ipv4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
		if (error && is_related(skb, packet, own, transport.at + 8, ipv4))
			return PASS;
		__be16 id = 0;
		int echo = ipv4 ? type == 8 || type == 0 : type == 128 || type == 129;
		if (echo && !LOAD(skb, transport.at + 4, &id))
			return refuse(packet, MALFORMED);
		packet->key.own_port = packet->key.peer_port = bpf_ntohs(id);
		packet->opens = type == (ipv4 ? 8 : 128);
		packet->type = type;
		packet->asks = question_of(type, ipv4);
		packet->key.kind = packet->asks;
		header = 8;
	}
	packet->payload = transport.length > header ? transport.length - header : 0;
	return TRACK;
}

#endif
