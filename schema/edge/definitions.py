"""The models that the code itself brings: their rows are made wherever they are missing."""

from db.models.models import ModelTask
from db.transactions.models import ModelDefinition
from ml.attendance.spec import ATTENDANCE_SPEC
from ml.attendance.spec import KEY as ATTENDANCE_KEY
from ml.spec_json import to_json

ATTENDANCE = ModelDefinition(
    key=ATTENDANCE_KEY,
    name="Attendance",
    description="Will this person in the ticket queue really come, or resell?",
    task=ModelTask.CLASSIFICATION,
    features=to_json(ATTENDANCE_SPEC),
)

DEFINITIONS = {ATTENDANCE.key: ATTENDANCE}
