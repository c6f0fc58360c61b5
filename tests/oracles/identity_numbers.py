"""The departments' spellings of an identity number, and the one that they mean: plain Python, GB 11643-1999."""

import csv
import unicodedata
from datetime import date

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def normal_form(number):
    """18 digits, the last perhaps X; raises ValueError for what is not a number."""
    number = "".join(unicodedata.normalize("NFKC", number).split()).upper()
    if len(number) == 15:
        number = number[:6] + "19" + number[6:]
        number += check_digit(number)
    if len(number) != 18 or check_digit(number[:17]) != number[17]:
        raise ValueError("not an identity number")
    date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    return number


def check_digit(first17):
    return "10X98765432"[
        sum(int(digit) * weight for digit, weight in zip(first17, _WEIGHTS, strict=True)) % 11
    ]


def rows_by_person(path, identifier, delimiter=","):
    """A department's rows, a list for each normal form; rows without a valid number are nobody's."""
    people = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=delimiter):
            try:
                number = normal_form(row[identifier])
            except ValueError:
                continue
            people.setdefault(number, []).append(row)
    return people


def birthdays_passed(born, until):
    """Completed years from a date to another that is not earlier."""
    return until.year - born.year - ((until.month, until.day) < (born.month, born.day))
