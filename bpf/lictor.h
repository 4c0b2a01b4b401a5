/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The words shared with the node agent: what the maps and events hold. The agent's mirror of each structure
 * is in crates/services/datapath/src/wire.rs; sizes are compared when the programs are loaded. */
#ifndef LICTOR_H
#define LICTOR_H
#include "kernel.h"

/* An address in network order; IPv4 is IPv4-mapped IPv6. */
struct address {
	__u32 word[4];
};

#define NONE 0xffffffffu
#define INGRESS 0 /* into the pod */
#define EGRESS 1  /* out of the pod */

/* How far a gate goes; a word that nobody wrote enforces. */
#define ENFORCE 0
#define AUDIT 1
#define OBSERVE 2

/* Why a verdict came about. */
enum reason {
	UNJUDGED = 0,
	RULE = 1,       /* a rule says so */
	ISOLATED = 2,   /* policies select the endpoint, and no rule allows this */
	NO_POLICY = 3,  /* no policy isolates this direction */
	OWN_POD = 4,    /* a pod with itself */
	OWN_NODE = 5,   /* a pod with its node */
	TUNNEL = 6,     /* a tunnel between enrolled pods; the proxies judge what is inside */
	PLAINTEXT = 7,  /* outside of a tunnel between enrolled pods */
	SPOOFED = 8,    /* the source is not the pod's */
	MALFORMED = 9,  /* headers that contradict themselves or end too early */
	UNTRACKED = 10, /* belongs to no connection and opens none */
	FULL = 11,      /* no room to track it */
	UNKNOWN = 12,   /* the program in force does not know the endpoint */
	FRAGMENT = 13,  /* a later fragment whose first one did not pass */
	PROTOCOL = 14,  /* neither IP nor ARP */
	UNSEEN = 15,    /* a rule allows some uses of it, and no proxy sees how it is used */
	REASONS = 16,
};

/* One direction of an endpoint as one word, so that a whole rule set changes with one store:
 * bits 0-31 rule set (0: not isolated), 32-60 generation, 61 column of classes, 62-63 mode. */
#define GATE_SET(gate) ((__u32)(gate))
#define GATE_GENERATION(gate) ((__u32)((gate) >> 32) & 0x1fffffffu)
#define GATE_COLUMN(gate) ((__u32)((gate) >> 61) & 1u)
#define GATE_MODE(gate) ((__u32)((gate) >> 62))

#define ENDPOINT_ADDRESSES 4
#define ENDPOINT_ACTIVE 1   /* the program in force knows it */
#define ENDPOINT_ENROLLED 2 /* the proxy captures its TCP traffic */
struct endpoint {
	struct address addresses[ENDPOINT_ADDRESSES];
	__u32 count, flags;
};

/* What is known of one address. Classes stand in two columns: the agent fills the one that no gate uses. */
#define PEER_ENROLLED 1
#define PEER_RESOLVER 2 /* the cluster's DNS, which asks the policies about names */
struct peer {
	__u32 class[2];
	__u32 endpoint; /* the endpoint at a link of this node, or NONE */
	__u8 index;     /* which of that endpoint's addresses it is */
	__u8 flags;
	__u16 pad;
};

struct prefix4 {
	__u32 length;
	__be32 address;
};
struct prefix6 {
	__u32 length;
	struct address address;
};
struct classes {
	__u32 class[2];
};

struct node_key {
	__u32 endpoint;
	struct address address;
};

/* A rule set's port classes: `count` lower bounds, ascending, from `first` in the bounds' array. */
struct span {
	__u32 first, count;
};

#define ANY_CLASS 0xffffffffu
#define OWN_NODE_CLASS 0x80000000u /* with the class of an address that is the endpoint's own node */
#define ANY_PORT 0xffffffffu /* all ports of all protocols */
struct rule_key {
	__u32 set, class;
	__u32 port; /* protocol << 16 | port class, or ANY_PORT */
};
#define ALLOW_ALL 1
#define ALLOW_BY_PROXY 2    /* if the proxy captures it: it judges what is said */
#define ALLOW_BY_RESOLVER 4 /* if it goes to the cluster's DNS */
struct rule {
	__u32 id;
	__u32 allow;
};

/* A connection as one endpoint sees it. Both ports are an ICMP message's identifier. */
struct flow_key {
	struct address peer;
	__u32 endpoint;
	__u16 peer_port, own_port;
	__u8 protocol;
	__u8 index; /* which of the endpoint's addresses */
	__u16 kind; /* the type of an ICMP message, that of the question for an answer */
};

#define FLOW_REPLIED 1   /* the other side has answered */
#define FLOW_ASSURED 2   /* and the opener went on */
#define FLOW_FIN_OPENER 4
#define FLOW_FIN_OTHER 8
#define FLOW_CLOSED 16   /* both have finished, or one has reset it */
#define FLOW_ENDED 32    /* a policy ended it; what is still sent is dropped */
#define FLOW_QUIET 64    /* its destination's entry speaks for it */

/* What a layer said. */
struct judgement {
	__u32 rule;
	__u8 reason, allow, mode, pad;
};

struct flow {
	__u64 id, opened, seen;
	__u64 sent, received; /* payload bytes from and to the opener */
	struct judgement judgement;
	__u32 generation;
	__u32 state;
	__u8 direction; /* EGRESS: the endpoint opened it */
	__u8 pad[7];
};

/* When a denial was last told, so that one attempt makes one event. */
struct told {
	__u64 at;
	__u32 sequence, pad;
};

struct fragment_key {
	struct address source, destination;
	__u32 id, endpoint;
	__u8 protocol, direction;
	__u16 pad;
};

struct service_key {
	struct address address;
	__u16 port;
	__u8 protocol, pad;
};
struct backend {
	struct address address;
	__u16 port, pad;
};
struct socket_key {
	__u64 cookie;
	struct backend backend;
	__u32 pad;
};

#define EVENT_JUDGED 1
#define EVENT_CLOSED 2
#define EVENT_SOURCE_ENROLLED 1
#define EVENT_DESTINATION_ENROLLED 2
#define EVENT_ENDED 4 /* closed by a policy: the judgement says which */
struct event {
	__u64 at, flow, revision, sent, received;
	struct address source, destination;
	__u16 source_port, destination_port;
	__u8 kind, protocol, flags, pad;
	struct judgement egress, ingress;
};

#define TUNNEL_PORT 15008
#define REFUSED_MARK 0x53a

/* Counters: one for each reason of a drop, then these. */
#define COUNT_EVENTS_LOST REASONS
#define COUNT_PACKETS (REASONS + 1)
#define COUNTERS (REASONS + 2)

#endif
