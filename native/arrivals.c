/*
 * Requests that arrive by a Poisson process, on any clock (reference section 6.1, Ingress and
 * SyntheticNetwork).
 */
#include "experiment.h"

#include <stdlib.h>

/*
 * Von Neumann's comparison method: the parity of the length of a falling run of uniform numbers
 * has the right law, so that no logarithm is needed. lib/prng.ts has the same.
 */
double exp_exponential(uint64_t *state, double mean)
{
    for (uint32_t whole = 0;; whole++) {
        const uint64_t first = exp_random(state);
        uint64_t previous = first;
        int is_accepted = 0;
        for (;;) {
            const uint64_t next = exp_random(state);
            is_accepted = !is_accepted;
            if (next > previous)
                break;
            previous = next;
        }
        if (is_accepted)
            return (whole + (double)(first >> 11) * 0x1p-53) * mean;
    }
}

void exp_network_init(struct exp_network *network, double throughput_rps, double range_ratio,
                      uint64_t seed)
{
    network->mean_gap_ns = throughput_rps > 0 ? 1e9 / throughput_rps : 0;
    network->next_ns = 0;
    network->range_ratio = range_ratio;
    network->entry_count = EXP_ENTRY_COUNT;
    network->range_size = EXP_RANGE_SIZE;
    network->random = seed;
}

void exp_network_begin(struct exp_network *network, double now_ns)
{
    network->next_ns = now_ns + exp_exponential(&network->random, network->mean_gap_ns);
}

int exp_network_take(struct exp_network *network, double now_ns, struct exp_request *request)
{
    if (network->mean_gap_ns == 0 || network->next_ns == 0 || now_ns < network->next_ns)
        return 0;
    uint64_t *random = &network->random;
    *request = (struct exp_request){.generated_ns = network->next_ns, .received_ns = now_ns};
    network->next_ns += exp_exponential(random, network->mean_gap_ns);
    if (exp_uniform(random) < network->range_ratio) {
        request->kind = EXP_RANGE;
        request->entry = exp_below(random, network->entry_count - network->range_size + 1);
    } else {
        request->kind = EXP_GET;
        request->entry = exp_below(random, network->entry_count);
    }
    return 1;
}

/* For tests, and for whoever wants arrivals elsewhere: a network of its own. Its handle, or 0. */
SHIM_API double exp_network_create(double throughput_rps, double range_ratio, double seed)
{
    struct exp_network *network = malloc(sizeof *network);
    if (network == NULL)
        return 0;
    exp_network_init(network, throughput_rps, range_ratio, exp_branch((uint64_t)seed, 0));
    return (double)(uintptr_t)network;
}

SHIM_API void exp_network_free(double handle)
{
    free(shim_pointer(handle));
}

SHIM_API void exp_network_start(double handle, double now_ns)
{
    exp_network_begin(shim_pointer(handle), now_ns);
}

SHIM_API int32_t exp_network_poll(double handle, double now_ns, struct exp_request *request)
{
    return exp_network_take(shim_pointer(handle), now_ns, request);
}
