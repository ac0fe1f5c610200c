//! The linear assignment problem: which row goes with which column, at the least cost in all.
//!
//! R. Jonker and A. Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems", Computing 38
//! (1987): column reduction, reduction transfer, two rounds of augmenting row reduction, then shortest augmenting paths. Among
//! assignments of equal cost the choice is that of the `lap` package, by which the trackers' reference implementations
//! assign: new ids are given in the order of what is left over, so that ties show.

/// No partner.
const NONE: usize = usize::MAX;

/// Solves assignment problems, and keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    side: usize,
    /// Square, row by row.
    cost: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
    /// The dual variables of the columns.
    price: Vec<f64>,
    free: Vec<usize>,
    shared: Vec<bool>,
    distance: Vec<f64>,
    order: Vec<usize>,
    before: Vec<usize>,
}

/// There is nothing in it that is worth copying.
impl Clone for Assignment {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Assignment {
    /// The column of each row, where it has one.
    ///
    /// With a `limit`, every row and every column may stay alone for half of it each, so that no pair costs more. Without one, all of the
    /// shorter side are assigned.
    pub fn solve(
        &mut self,
        rows: usize,
        columns: usize,
        limit: Option<f64>,
        cost: impl Fn(usize, usize) -> f64,
    ) -> impl Iterator<Item = (usize, Option<usize>)> {
        let (side, alone) = match limit {
            Some(limit) => (rows + columns, limit / 2.0),
            None => (rows.max(columns), 0.0),
        };
        self.side = side;
        self.cost.clear();
        self.cost.resize(side * side, alone);
        for row in 0..rows {
            for column in 0..columns {
                self.cost[row * side + column] = cost(row, column);
            }
        }
        for row in rows..side {
            self.cost[row * side + columns..(row + 1) * side].fill(0.0);
        }
        self.solve_square();
        let partner = move |column: usize| (column < columns).then_some(column);
        self.column_of[..rows].iter().map(move |&column| partner(column)).enumerate()
    }

    fn solve_square(&mut self) {
        self.reduce_columns();
        for _ in 0..2 {
            if self.free.is_empty() {
                return;
            }
            self.reduce_rows();
        }
        for at in 0..self.free.len() {
            self.augment(self.free[at]);
        }
    }

    /// Each column goes to its cheapest row, the last column first, unless that is taken; the slack of rows that no other column wants
    /// is taken off their column's price.
    fn reduce_columns(&mut self) {
        let side = self.side;
        refill(&mut self.column_of, side, NONE);
        refill(&mut self.row_of, side, 0);
        refill(&mut self.price, side, f64::INFINITY);
        refill(&mut self.shared, side, false);
        self.free.clear();
        for row in 0..side {
            for column in 0..side {
                let cost = self.cost[row * side + column];
                if cost < self.price[column] {
                    (self.price[column], self.row_of[column]) = (cost, row);
                }
            }
        }
        for column in (0..side).rev() {
            let row = self.row_of[column];
            if self.column_of[row] == NONE {
                self.column_of[row] = column;
            } else {
                self.shared[row] = true;
                self.row_of[column] = NONE;
            }
        }
        for row in 0..side {
            let own = self.column_of[row];
            if own == NONE {
                self.free.push(row);
            } else if !self.shared[row] {
                let others = (0..side).filter(|column| *column != own);
                let slack = others.map(|column| self.reduced(row, column)).fold(f64::INFINITY, f64::min);
                self.price[own] -= slack;
            }
        }
    }

    /// Rows without a column take their cheapest, at the price of the difference to the second; who held it is free again.
    fn reduce_rows(&mut self) {
        let count = self.free.len();
        let (mut current, mut left, mut rounds) = (0, 0, 0);
        while current < count {
            rounds += 1;
            let row = self.free[current];
            current += 1;
            let (first, second) = self.two_cheapest(row);
            let mut column = first.0;
            let mut holder = self.row_of[column];
            let price = self.price[column] - (second.1 - first.1);
            let lowers = price < self.price[column];
            // Prices that differ by rounding alone could lower each other for ever.
            let may_go_on = rounds < current * self.side;
            if may_go_on {
                if lowers {
                    self.price[column] = price;
                } else if holder != NONE && second.0 != NONE {
                    column = second.0;
                    holder = self.row_of[column];
                }
            }
            if holder != NONE {
                if may_go_on && lowers {
                    current -= 1;
                    self.free[current] = holder;
                } else {
                    self.free[left] = holder;
                    left += 1;
                }
            }
            self.column_of[row] = column;
            self.row_of[column] = row;
        }
        self.free.truncate(left);
    }

    /// The two columns that cost a row least, with what they do; of equals, the first is the first, and the last the second.
    fn two_cheapest(&self, row: usize) -> ((usize, f64), (usize, f64)) {
        let mut first = (0, self.reduced(row, 0));
        let mut second = (NONE, f64::INFINITY);
        for column in 1..self.side {
            let cost = self.reduced(row, column);
            if cost >= second.1 {
                continue;
            }
            if cost >= first.1 {
                second = (column, cost);
            } else {
                second = first;
                first = (column, cost);
            }
        }
        (first, second)
    }

    /// Finds the cheapest way from a free row to a free column, and changes partners along it.
    fn augment(&mut self, start: usize) {
        let mut column = self.cheapest_way(start);
        loop {
            let row = self.before[column];
            self.row_of[column] = row;
            column = std::mem::replace(&mut self.column_of[row], column);
            if row == start {
                return;
            }
        }
    }

    /// Dijkstra's algorithm over columns, which stand in `order`: those done, those to scan, those to do.
    fn cheapest_way(&mut self, start: usize) -> usize {
        let side = self.side;
        refill(&mut self.before, side, start);
        self.order.clear();
        self.order.extend(0..side);
        self.distance.clear();
        for column in 0..side {
            self.distance.push(self.reduced(start, column));
        }
        let mut done = 0;
        loop {
            let scanned = self.gather_nearest(done);
            let free = |column: &&usize| self.row_of[**column] == NONE;
            let found = self.order[done..scanned].iter().rfind(free).copied();
            let (found, next) = match found {
                Some(column) => (Some(column), done),
                None => self.scan(done, scanned),
            };
            if let Some(column) = found {
                let nearest = self.distance[self.order[done]];
                for &column in &self.order[..done] {
                    self.price[column] += self.distance[column] - nearest;
                }
                return column;
            }
            done = next;
        }
    }

    /// Moves the nearest columns from `done` on to the front; returns where they end.
    fn gather_nearest(&mut self, done: usize) -> usize {
        let mut end = done + 1;
        let mut nearest = self.distance[self.order[done]];
        for at in done + 1..self.side {
            let distance = self.distance[self.order[at]];
            if distance <= nearest {
                if distance < nearest {
                    end = done;
                    nearest = distance;
                }
                self.order.swap(at, end);
                end += 1;
            }
        }
        end
    }

    /// Looks for shorter ways through the columns from `next` to `end`. Returns a free column that is as near as those, or else where
    /// the nearest of the rest are to be gathered.
    fn scan(&mut self, mut next: usize, mut end: usize) -> (Option<usize>, usize) {
        while next != end {
            let through = self.order[next];
            next += 1;
            let row = self.row_of[through];
            let nearest = self.distance[through];
            let offset = self.reduced(row, through) - nearest;
            let to_do = end..self.side;
            for at in to_do {
                let column = self.order[at];
                let distance = self.reduced(row, column) - offset;
                if distance >= self.distance[column] {
                    continue;
                }
                self.distance[column] = distance;
                self.before[column] = row;
                if distance == nearest {
                    if self.row_of[column] == NONE {
                        return (Some(column), next);
                    }
                    self.order.swap(at, end);
                    end += 1;
                }
            }
        }
        (None, next)
    }

    fn reduced(&self, row: usize, column: usize) -> f64 {
        self.cost[row * self.side + column] - self.price[column]
    }
}

fn refill<T: Clone>(values: &mut Vec<T>, count: usize, value: T) {
    values.clear();
    values.resize(count, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least cost over all assignments in which who stays alone costs half the limit.
    fn least(cost: &[Vec<f64>], limit: f64, row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == cost.len() {
            let alone = taken.iter().filter(|taken| !**taken).count();
            return alone as f64 * limit / 2.0;
        }
        let mut best = limit / 2.0 + least(cost, limit, row + 1, taken);
        for column in 0..taken.len() {
            if !taken[column] {
                taken[column] = true;
                best = best.min(cost[row][column] + least(cost, limit, row + 1, taken));
                taken[column] = false;
            }
        }
        best
    }

    fn matrix() -> impl Strategy<Value = (Vec<Vec<f64>>, f64)> {
        // Multiples of an eighth, so that there are ties, and sums are exact.
        let entry = (0..=8_u8).prop_map(|n| f64::from(n) / 8.0);
        (1..6_usize, 1..6_usize).prop_flat_map(move |(rows, columns)| {
            let row = proptest::collection::vec(entry.clone(), columns);
            (proptest::collection::vec(row, rows), (1..=8_u8).prop_map(|n| f64::from(n) / 8.0))
        })
    }

    proptest! {
        #[test]
        fn the_cost_is_the_least_and_no_column_is_taken_twice((cost, limit) in matrix()) {
            let columns = cost[0].len();
            let mut solver = Assignment::default();
            let mut taken = vec![false; columns];
            let mut total = 0.0;
            for (row, column) in solver.solve(cost.len(), columns, Some(limit), |row, column| cost[row][column]) {
                match column {
                    Some(column) => {
                        prop_assert!(!std::mem::replace(&mut taken[column], true));
                        total += cost[row][column];
                    }
                    None => total += limit / 2.0,
                }
            }
            total += taken.iter().filter(|taken| !**taken).count() as f64 * limit / 2.0;
            prop_assert_eq!(total, least(&cost, limit, 0, &mut vec![false; columns]));
        }

        #[test]
        fn without_a_limit_all_of_the_shorter_side_are_assigned((cost, _) in matrix()) {
            let columns = cost[0].len();
            let mut solver = Assignment::default();
            let assigned = solver
                .solve(cost.len(), columns, None, |row, column| cost[row][column])
                .filter(|(_, column)| column.is_some())
                .count();
            prop_assert_eq!(assigned, cost.len().min(columns));
        }
    }
}
