import threading
import time

import pytest

from barman.workers import Task, ordered_map


def test_results_come_in_the_order_of_the_items():
    def slow_first(number):
        time.sleep(0.05 if number == 0 else 0)
        return number

    assert list(ordered_map(slow_first, range(20), jobs=4)) == list(range(20))


def test_not_more_than_the_window_is_taken_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = ordered_map(lambda number: number, items(), jobs=2, window=4)
    next(results)
    assert len(taken) <= 5
    results.close()


def test_the_first_failure_cancels_what_has_not_started():
    ran = []
    lock = threading.Lock()

    def work(number):
        with lock:
            ran.append(number)
        if number == 1:
            raise ValueError("one")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="one"):
        list(ordered_map(work, range(1000), jobs=2))
    assert len(ran) < 20


def test_a_task_runs_beside_its_caller_and_gives_its_result_or_its_failure_as_often_as_asked():
    begun, may_end = threading.Event(), threading.Event()

    def call():
        begun.set()
        assert may_end.wait(10)
        return 7

    task = Task(call)
    assert begun.wait(10)  # the caller goes on while the call waits for it
    may_end.set()
    assert [task.result(), task.result()] == [7, 7]

    failing = Task(lambda: 1 // 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            failing.result()
