/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The verdict on one direction of one flow: what lictor_network::Program::judge says, from the maps. */
#ifndef LICTOR_JUDGE_H
#define LICTOR_JUDGE_H
#include "maps.h"

/* A judgement as one word: bits 0-31 rule, 32-39 reason, 40 allow, 48-49 mode. */
static __always_inline __u64 judgement(__u32 rule, __u32 reason, __u32 allow, __u32 mode)
{
	return rule | (__u64)reason << 32 | (__u64)(allow & 1) << 40 | (__u64)mode << 48;
}

static __always_inline __u32 reason_of(__u64 word)
{
	return (__u8)(word >> 32);
}

static __always_inline int denies(__u64 word)
{
	return !(word >> 40 & 1) && (__u8)(word >> 48) == ENFORCE;
}

static __always_inline void unpack(struct judgement *into, __u64 word)
{
	into->rule = (__u32)word;
	into->reason = (__u8)(word >> 32);
	into->allow = (__u8)(word >> 40);
	into->mode = (__u8)(word >> 48);
	into->pad = 0;
}

/* The class of an address in a column; 0 when nothing names it. */
static __always_inline __u32 class_of(const struct address *address, __u32 column)
{
	struct peer *peer = bpf_map_lookup_elem(&PEERS, address);
	if (peer)
		return column ? peer->class[1] : peer->class[0];
	struct classes *classes;
	if (is_ipv4(address)) {
		struct prefix4 key = { .length = 32, .address = address->word[3] };
		classes = bpf_map_lookup_elem(&PREFIXES4, &key);
	} else {
		struct prefix6 key = { .length = 128, .address = *address };
		classes = bpf_map_lookup_elem(&PREFIXES6, &key);
	}
	if (!classes)
		return 0;
	return column ? classes->class[1] : classes->class[0];
}

/* The last bound that is not above the port; bounds are at most 65,536, so 17 halvings find it. */
static __always_inline __u32 port_class(__u32 set, __u32 port)
{
	struct span *span = bpf_map_lookup_elem(&SPANS, &set);
	if (!span || !span->count)
		return 0;
	__u32 low = 0, high = span->count;
	for (int step = 0; step < 17; step++) {
		if (high - low <= 1)
			break;
		__u32 middle = low + (high - low) / 2, at = span->first + middle;
		__u32 *bound = bpf_map_lookup_elem(&BOUNDS, &at);
		if (bound && *bound <= port)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* What a rule says. One that allows some uses only allows where they are judged: by the proxy, or by the cluster's DNS. */
static __always_inline __u64 said(const struct rule *rule, const struct endpoint *own, const struct address *address,
				  __u32 protocol, __u32 mode)
{
	if (rule->allow <= ALLOW_ALL)
		return judgement(rule->id, RULE, rule->allow, mode);
	if (rule->allow & ALLOW_BY_PROXY && protocol == PROTO_TCP && own->flags & ENDPOINT_ENROLLED)
		return judgement(rule->id, RULE, 1, mode);
	struct peer *peer = bpf_map_lookup_elem(&PEERS, address);
	if (rule->allow & ALLOW_BY_RESOLVER && peer && peer->flags & PEER_RESOLVER)
		return judgement(rule->id, RULE, 1, mode);
	return judgement(rule->id, UNSEEN, 0, mode);
}

/* Judges a flow between `endpoint` and `peer` in one direction. `port` is the destination port, the type of an ICMP
 * message, 0 where the protocol has neither. */
__noinline __u64 judge(__u32 endpoint, __u32 direction, const struct address *peer, __u32 protocol,
			      __u32 port)
{
	struct endpoint *own = bpf_map_lookup_elem(&ENDPOINTS, &endpoint);
	if (!own || !(own->flags & ENDPOINT_ACTIVE))
		return judgement(0, UNKNOWN, 0, ENFORCE);
	if (!peer)
		return judgement(0, UNKNOWN, 0, ENFORCE);
	for (int i = 0; i < ENDPOINT_ADDRESSES; i++)
		if (i < own->count && same(&own->addresses[i], peer))
			return judgement(0, OWN_POD, 1, ENFORCE);
	struct node_key node = { .endpoint = endpoint, .address = *peer };
	__u32 own_node = bpf_map_lookup_elem(&OWN_NODES, &node) ? OWN_NODE_CLASS : 0;

	__u32 slot = endpoint * 2 + direction;
	__u64 *word = bpf_map_lookup_elem(&GATES, &slot);
	if (!word)
		return judgement(0, UNKNOWN, 0, ENFORCE);
	__u64 gate = *(volatile __u64 *)word;
	__u32 mode = GATE_MODE(gate);
	struct rule_key key = { .set = GATE_SET(gate) };
	if (!key.set)
		return own_node ? judgement(0, OWN_NODE, 1, ENFORCE) : judgement(0, NO_POLICY, 1, mode);

	__u32 class = class_of(peer, GATE_COLUMN(gate)) | own_node;
	__u32 exact = protocol << 16 | port_class(key.set, port);
	struct rule *rule;
	key.class = class;
	key.port = exact;
	if ((rule = bpf_map_lookup_elem(&RULES, &key)))
		return said(rule, own, peer, protocol, mode);
	key.port = ANY_PORT;
	if ((rule = bpf_map_lookup_elem(&RULES, &key)))
		return said(rule, own, peer, protocol, mode);
	/* Only a tier speaks of it. */
	if (own_node)
		return judgement(0, OWN_NODE, 1, ENFORCE);
	key.class = ANY_CLASS;
	key.port = exact;
	if ((rule = bpf_map_lookup_elem(&RULES, &key)))
		return said(rule, own, peer, protocol, mode);
	key.port = ANY_PORT;
	if ((rule = bpf_map_lookup_elem(&RULES, &key)))
		return said(rule, own, peer, protocol, mode);
	return judgement(0, ISOLATED, 0, mode);
}

#endif
