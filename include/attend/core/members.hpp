#pragma once
/// \file
/// Whether a part has an optional member, whatever its type: what is there but does not fit must not count as absent.

#include <type_traits>

#include <attend/core/config.hpp>

namespace attend::inline ATTEND_ABI::detail {

/// A member that both have is ambiguous here.
template <class Part, class Names>
struct PartBeside : Part, Names {};

#define ATTEND_HAS_MEMBER(Has, name) \
    struct Names##Has {              \
        int name;                    \
    };                               \
    template <class Part>            \
    concept Has = !std::is_final_v<Part> && !requires { &PartBeside<Part, Names##Has>::name; }

ATTEND_HAS_MEMBER(HasCheck, check);
ATTEND_HAS_MEMBER(HasCover, cover);
ATTEND_HAS_MEMBER(HasFeatures, features);
ATTEND_HAS_MEMBER(HasMapKeys, map_keys);
ATTEND_HAS_MEMBER(HasMapQueries, map_queries);
ATTEND_HAS_MEMBER(HasTake, take);

#undef ATTEND_HAS_MEMBER

}  // namespace attend
