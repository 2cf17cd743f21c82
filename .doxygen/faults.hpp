// What check.py must find, and what it must leave alone. Nobody includes this.

namespace attend::inline ATTEND_ABI {

namespace detail {
class Later;
}
namespace detail {
struct Hidden {
    int nothing;
};
}  // namespace detail

struct Bare {          // FAULT
    int a = 0;         // FAULT
    int b = 0, c = 0;  ///< both have these words
};

/// What a mask is.
template <class M>
concept Mask = OfKind<M, Kind::mask>;

/// A mask of one's own.
struct OwnMask {
    static constexpr Kind kind = Kind::mask;

    int width = 1;   // FAULT
    int height = 1;  ///< so many

    void check(const Shape&) const {}
    bool operator()(const Position& p) const { return p.key < width; }
    int other(int x) const { return x; }  // FAULT
    OwnMask operator+(const OwnMask& a) const { return a; }
    OwnMask operator<<(int) const { return *this; }  // FAULT
    template <class X>
    void refused(const X&) const {
        static_assert(sizeof(X) == 0, "attend: not that; in words");
    }

protected:
    int inner() const { return 0; }

private:
    int hidden_ = 0;
};

/// Which one: `first`, or the other.
enum class Which { first, second };  // FAULT

/// The larger half.
inline int half(int n) {  // FAULT
    detail::require(n > 0, "half: must be above 0");
    return n / 2;
}

/// The larger half. Throws unless n is above 0.
inline int larger_half(int n) {
    detail::require(n > 0, "half: must be above 0");
    return n / 2;
}

/// Sums it up. O(n).
template <detail::Dense X>
double total(const X& x) {  // FAULT
    return x.sum();
}

/// Sums up x, n × d.
template <detail::Dense X>
double sum_of(const X& x) {  // FAULT
    return x.sum();
}

/// Sums up x, n × d. O(n · d).
template <detail::Dense X>
double whole(const X& x) {
    return x.sum();
}

/// Of one and of two.
/// @{
inline int both(int x) { return x; }
inline int both(int x, int y) { return x + y; }
/// @}

/// As somebody wrote, Nobody et al., at some time.  // FAULT
inline int cited() { return 0; }
/// As somebody wrote (Nobody et al. 1999).
inline int dated() { return 0; }

}  // namespace attend
