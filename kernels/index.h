// Picking elements by index, and putting them back: gather, scatter, rows, masks, triangles, lookup.
//
// Indices are contiguous i64. On the CPU check_index has already thrown if one is out of range; on a device it only
// notes it, and what uses the indices reads and writes nothing for one that is outside: where it would have read there
// are zeros. What is written twice is written, or added, in the order of the indices, for any number of threads: work
// is cut so that every element of the result belongs to one chunk.
#pragma once

#include "tenrec/core/dispatch.h"
#include "tenrec/core/index_error.h"
#include "tenrec/core/view.h"

namespace tenrec::kernels {

// IndexError, in the name of `op`, for the first index that the rule does not take: at once, or on a device where the
// host waits next.
void check_index(Cpu, const char* op, const View& index, const tenrec::detail::IndexRule& rule);
void check_index(Cuda, const char* op, const View& index, const tenrec::detail::IndexRule& rule);
// rows = rows * size + index, with negative indices counted from the end. `first`: rows = index. On a device, -1 where
// an index is outside.
void combine_rows(Cpu, const View& index, int64_t size, bool first, const View& rows);
void combine_rows(Cuda, const View& index, int64_t size, bool first, const View& rows);

// Rows: a tensor seen as [outer, n, inner], of which `rows` (each in [0, n)) picks [outer, count, inner].
// picked[o, b, :] = from[o, rows[b], :], and zero where rows[b] == skip. `from` may have any strides.
void take_rows(Cpu, const View& from, const View& rows, const View& picked, int64_t skip);
void take_rows(Cuda, const View& from, const View& rows, const View& picked, int64_t skip);
// into[o, rows[b], :] += picked[o, b, :], but where rows[b] == skip. Contiguous; f64, f32 and integers.
void add_rows(Cpu, const View& picked, const View& rows, const View& into, int64_t skip);
void add_rows(Cuda, const View& picked, const View& rows, const View& into, int64_t skip);
// into[o, rows[b], :] = picked[o, b, :]; the last one stays. Contiguous.
void put_rows(Cpu, const View& picked, const View& rows, const View& into);
void put_rows(Cuda, const View& picked, const View& rows, const View& into);
// last[b] = whether no later index names the same of n rows.
void last_rows(Cpu, const View& rows, int64_t n, const View& last);
void last_rows(Cuda, const View& rows, int64_t n, const View& last);

// Along one dimension: y[.., k, ..] = x[.., index[.., k, ..], ..]. index and y have one shape, of which each size but
// that of `dim` is at most x's. Any strides but index's.
void gather(Cpu, const View& x, const View& index, const View& y, int64_t dim);
void gather(Cuda, const View& x, const View& index, const View& y, int64_t dim);
enum class Scatter { put, add, multiply, largest, smallest };
// y[.., index[.., k, ..], ..] = src[.., k, ..], combined with what is there. NaN goes through largest and smallest.
void scatter(Cpu, const View& src, const View& index, const View& y, int64_t dim, Scatter how);
void scatter(Cuda, const View& src, const View& index, const View& y, int64_t dim, Scatter how);
// last[k] = whether no later index along `dim` names the same of n places. index and last are contiguous.
void last_writers(Cpu, const View& index, int64_t n, int64_t dim, const View& last);
void last_writers(Cuda, const View& index, int64_t n, int64_t dim, const View& last);

// How many bytes of a contiguous mask are not zero, and their positions in order.
int64_t count_true(Cpu, const View& mask);
int64_t count_true(Cuda, const View& mask);
void true_positions(Cpu, const View& mask, const View& positions);
void true_positions(Cuda, const View& mask, const View& positions);
// coordinates[i, :] = position i as an index into `shape`.
void unravel(Cpu, const View& positions, const Shape& shape, const View& coordinates);
void unravel(Cuda, const View& positions, const Shape& shape, const View& coordinates);

// y[i, j] = x[i, j] on and below (`lower`) or above the diagonal j - i = diagonal of the last two dimensions, else 0.
void triangle(Cpu, const View& x, const View& y, int64_t diagonal, bool lower);
void triangle(Cuda, const View& x, const View& y, int64_t diagonal, bool lower);
// y[.., c] = (index[..] == c), contiguous i64.
void one_hot(Cpu, const View& index, const View& y);
void one_hot(Cuda, const View& index, const View& y);
// y[index[i]] += 1, contiguous i64.
void count_each(Cpu, const View& index, const View& y);
void count_each(Cuda, const View& index, const View& y);
// y[r, i] = how many of the ascending sorted[r, :] are below values[r, i] (`right`: or equal). One row of `sorted`
// serves all. Contiguous, one dtype.
void search_sorted(Cpu, const View& sorted, const View& values, const View& y, bool right);
void search_sorted(Cuda, const View& sorted, const View& values, const View& y, bool right);

}  // namespace tenrec::kernels
