/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Segmentation at the node's end of each pod's link, and services at each pod's sockets. */
#include "track.h"
#include "socket.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

static __always_inline void fragment_key(struct fragment_key *key, struct packet *packet)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->source = packet->own;
	key->destination = packet->key.peer;
	key->id = packet->fragment;
	key->endpoint = packet->key.endpoint;
	key->protocol = packet->key.protocol;
	key->direction = packet->direction;
}

static __always_inline int verdict(struct __sk_buff *skb, __u8 direction)
{
	count(COUNT_PACKETS);
	__u32 link = skb->ifindex;
	__u32 *endpoint = bpf_map_lookup_elem(&LINKS, &link);
	if (!endpoint) {
		count(UNKNOWN);
		return TCX_DROP;
	}
	struct packet packet = { .direction = direction, .key.endpoint = *endpoint };
	__u32 slot = *endpoint;
	struct endpoint *own = bpf_map_lookup_elem(&ENDPOINTS, &slot);
	if (!own || !(own->flags & ENDPOINT_ACTIVE)) {
		count(UNKNOWN);
		return TCX_DROP;
	}
	switch (parse(skb, &packet, own)) {
	case PASS:
		return TCX_NEXT;
	case TRACK: {
		int passes = track(&packet, own);
		if (packet.fragmented && passes == TCX_NEXT) {
			struct fragment_key key;
			__u64 now = bpf_ktime_get_ns();
			fragment_key(&key, &packet);
			bpf_map_update_elem(&FRAGMENTS, &key, &now, BPF_ANY);
		}
		return passes;
	}
	case LATER: {
		/* A later fragment goes where its first one went; alone it could carry anything past. */
		struct fragment_key key;
		fragment_key(&key, &packet);
		__u64 *first = bpf_map_lookup_elem(&FRAGMENTS, &key);
		if (first && bpf_ktime_get_ns() - *first < 30 * SECOND)
			return TCX_NEXT;
		count(FRAGMENT);
		return TCX_DROP;
	}
	case REFUSE:
		count(packet.reason);
		if (packet.reason == SPOOFED && is_news(&packet)) {
			struct report report = { .kind = EVENT_JUDGED, .direction = EGRESS };
			unpack(&report.egress, judgement(0, SPOOFED, 0, ENFORCE));
			tell(&packet, own, &report);
		}
		return TCX_DROP;
	default:
		return TCX_DROP;
	}
}

/* The node's end receives what the pod sends. */
SEC("classifier")
int lictor_egress(struct __sk_buff *skb)
{
	return verdict(skb, EGRESS);
}

/* The node's end sends what the pod receives. */
SEC("classifier")
int lictor_ingress(struct __sk_buff *skb)
{
	return verdict(skb, INGRESS);
}
