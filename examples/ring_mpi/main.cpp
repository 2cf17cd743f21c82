// needs: mpi
/// One long sequence over several processes: each holds some of its rows, queries, keys and values alike, and no
/// process ever holds more keys than its own and one block that passes by (ring attention, Liu et al. 2023). Causal,
/// with ALiBi, so that it shows where keys stand; forward, and backward with the gradients of q, k and v.
///
///     mpirun -np 4 ./ring_mpi              # 4096 tokens; --short: 300
///
/// Every process then computes the whole by itself and compares: prints the largest differences, and exits with 1 if
/// one of them is more than rounding explains.

#define OMPI_SKIP_MPICXX  // the functions of C alone
#define MPICH_SKIP_MPICXX
#include <mpi.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <limits>
#include <string_view>
#include <utility>

#include <attend/attend.hpp>

using namespace attend;

namespace {

constexpr Index query_heads = 4, kv_heads = 2, d = 32, width = kv_heads * d;
const auto attention = scaled_dot_product >> alibi(alibi_slopes(query_heads)) >> causal;

using Matrix = RowMatrix<float>;

/// Which rows of the sequence each process holds: about as many, never mind that under a causal mask the last have the
/// most to do.
struct Ring {
    Index tokens;
    int rank = 0, size = 1;

    explicit Ring(Index tokens_) : tokens(tokens_) {
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        MPI_Comm_size(MPI_COMM_WORLD, &size);
    }
    Index begin(int of) const { return tokens * of / size; }
    Index rows(int of) const { return begin(of + 1) - begin(of); }
    int next() const { return (rank + 1) % size; }
    int previous() const { return (rank + size - 1) % size; }
    /// Whose block is here after so many steps, each to the next.
    int owner(int step) const { return (rank + size - step) % size; }
};

/// A block goes to the next process, and that of the previous one comes, while something else is done.
class Passing {
public:
    Passing(const Ring& ring, const Matrix& out, Matrix& in) {
        MPI_Irecv(in.data(), static_cast<int>(in.size()), MPI_FLOAT, ring.previous(), 0, MPI_COMM_WORLD, &requests_[0]);
        MPI_Isend(out.data(), static_cast<int>(out.size()), MPI_FLOAT, ring.next(), 0, MPI_COMM_WORLD, &requests_[1]);
    }
    void wait() { MPI_Waitall(2, requests_, MPI_STATUSES_IGNORE); }

private:
    MPI_Request requests_[2];
};

/// The rows of one process, and what it makes of them.
struct Rows {
    Matrix q, k, v, dout;
    AttentionState<float> state;  ///< over the keys that have passed so far; in the end the output and the LSE
    Matrix dq, dk, dv;
};

/// Calls of a block of keys count them from 0. Where the keys stand is what the queries' offset says then, in relation
/// to them: causal and ALiBi know distances alone. It is never negative here, since blocks behind the queries are left
/// out, but might be.
Index offset_of(const Ring& ring, int owner) { return ring.begin(ring.rank) - ring.begin(owner); }
bool sees(const Ring& ring, int owner) { return owner <= ring.rank; }

void forward(const Ring& ring, Rows& mine, Workspace& workspace) {
    Matrix here(mine.k.rows(), 2 * width), coming;  // keys and values side by side
    here << mine.k, mine.v;
    mine.state = AttentionState<float>(mine.q.rows(), query_heads, d);
    AttentionState<float> part = mine.state;
    for (int step = 0; step < ring.size; ++step) {
        coming.resize(ring.rows(ring.owner(step + 1)), 2 * width);
        Passing passing(ring, here, coming);
        if (sees(ring, ring.owner(step))) {
            attention(heads(mine.q, query_heads), heads(here.leftCols(width), kv_heads),
                      heads(here.rightCols(width), kv_heads), part.output,
                      {.workspace = &workspace, .lse = part.lse, .query_offset = offset_of(ring, ring.owner(step))});
            mine.state.merge(part);
        }
        passing.wait();
        std::swap(here, coming);
    }
}

/// The blocks go round once more, and with them the gradients of their keys and values, to which each process adds what
/// its queries give; after a whole round they are at home. Weights are formed of the merged LSE, so that each part of
/// the keys gets its share of the whole's gradients.
void backward(const Ring& ring, Rows& mine, Workspace& workspace) {
    Matrix here(mine.k.rows(), 4 * width), coming;  // k, v, dk, dv
    here << mine.k, mine.v, Matrix::Zero(mine.k.rows(), 2 * width);
    mine.dq.setZero(mine.q.rows(), mine.q.cols());
    for (int step = 0; step < ring.size; ++step) {
        if (sees(ring, ring.owner(step))) {
            attention.backward(heads(mine.q, query_heads), heads(here.middleCols(0, width), kv_heads),
                               heads(here.middleCols(width, width), kv_heads), heads(mine.state.output, query_heads),
                               mine.state.lse, heads(mine.dout, query_heads), mine.dq,
                               here.middleCols(2 * width, width), here.middleCols(3 * width, width),
                               {.workspace = &workspace, .query_offset = offset_of(ring, ring.owner(step))});
        }
        coming.resize(ring.rows(ring.owner(step + 1)), 4 * width);
        Passing(ring, here, coming).wait();
        std::swap(here, coming);
    }
    mine.dk = here.middleCols(2 * width, width);
    mine.dv = here.middleCols(3 * width, width);
}

/// The whole sequence; the same in every process.
Rows whole_of(Index tokens) {
    Random random(1);
    const auto drawn = [&](Index columns) {
        Matrix x(tokens, columns);
        for (float& value : x.reshaped()) value = static_cast<float>(4 * random.uniform() - 2);
        return x;
    };
    Rows all;
    all.q = drawn(query_heads * d), all.k = drawn(width), all.v = drawn(width), all.dout = drawn(query_heads * d);
    return all;
}

/// Differences of the rows of this process, in roundings of the largest number of the whole; the largest of all
/// processes.
double roundings(const Ring& ring, const Matrix& mine, const Matrix& whole) {
    const auto same = whole.middleRows(ring.begin(ring.rank), ring.rows(ring.rank));
    double difference = 0;
    if (mine.size() > 0) difference = static_cast<double>((mine - same).cwiseAbs().maxCoeff());
    if (!mine.allFinite()) difference = std::numeric_limits<double>::infinity();
    MPI_Allreduce(MPI_IN_PLACE, &difference, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return difference / static_cast<double>(whole.cwiseAbs().maxCoeff() * std::numeric_limits<float>::epsilon());
}

int run(Index tokens) {
    const Ring ring(tokens);
    Rows all = whole_of(tokens), mine;
    const auto cut = [&](const Matrix& x) -> Matrix {
        return x.middleRows(ring.begin(ring.rank), ring.rows(ring.rank));
    };
    mine.q = cut(all.q), mine.k = cut(all.k), mine.v = cut(all.v), mine.dout = cut(all.dout);

    Workspace workspace;
    forward(ring, mine, workspace);
    backward(ring, mine, workspace);

    all.state = attention.state(heads(all.q, query_heads), heads(all.k, kv_heads), heads(all.v, kv_heads));
    attention.backward(heads(all.q, query_heads), heads(all.k, kv_heads), heads(all.v, kv_heads),
                       heads(all.state.output, query_heads), all.state.lse, heads(all.dout, query_heads), all.dq,
                       all.dk, all.dv, {.workspace = &workspace});

    // Both sum up the same products, 32 for a score and one a token for what is weighted, in another order. Roundings
    // go either way, so that a sum of n is off by about √n of them, of the largest number that there is; a sum of
    // weights whose scores of at most 23 are off by their own rounding, by some 23 more.
    const double most = 23 + 2 * std::sqrt(static_cast<double>(tokens));
    if (ring.rank == 0)
        std::printf(
            "%td tokens, %d processes; differences from one process, in roundings of the largest "
            "number, of which %.0f are allowed\n",
            tokens, ring.size, most);
    bool right = true;
    const auto compare = [&](const char* name, const Matrix& x, const Matrix& whole) {
        const double difference = roundings(ring, x, whole);
        right = right && difference <= most;
        if (ring.rank == 0) std::printf("  %-6s %5.1f%s\n", name, difference, difference <= most ? "" : "  too many");
    };
    compare("out", mine.state.output, all.state.output);
    compare("lse", mine.state.lse, all.state.lse);
    compare("dq", mine.dq, all.dq);
    compare("dk", mine.dk, all.dk);
    compare("dv", mine.dv, all.dv);
    return right && std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    MPI_Init(&argc, &argv);
    int code = 2;
    try {
        code = run(argc > 1 && std::string_view(argv[1]) == "--short" ? 300 : 4096);
    } catch (const std::exception& error) {  // the others wait for this process
        std::fprintf(stderr, "%s\n", error.what());
        MPI_Abort(MPI_COMM_WORLD, code);
    }
    MPI_Finalize();
    return code;
}
